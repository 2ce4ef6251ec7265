"""HTTPSettings: the options that all handlers of HTTP have, and the engine that they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from plugport import Help
from plugport.errors import OptionError

from plugport_http.engine import Limits, ServerConnection
from plugport_http.engine.parsers import HeaderParser, parser_factory
from plugport_http.requestlog import LoggedConnection, enable_request_log

__all__ = ["HTTPSettings"]


class HTTPSettings:
    """Options of a connection: the parser, the limits, the timeouts."""

    parser: Annotated[
        Literal["auto", "httptools", "h11"], Help("what parses the header (auto: httptools, or else h11)")
    ] = "auto"
    server_header: Annotated[str, Help("value of the field Server (empty: none is sent)")] = "plugport"
    max_line_size: Annotated[int, Help("bytes of a request line; 414 above", gt=0)] = 8192
    max_head_size: Annotated[int, Help("bytes of a request line and its header; 431 above", gt=0)] = 32768
    max_headers: Annotated[int, Help("fields of a header; 431 above", gt=0)] = 100
    max_body_size: Annotated[int | None, Help("bytes of a body; 413 above (null: no limit)", ge=0)] = None
    max_requests: Annotated[int | None, Help("requests of a connection (null: no limit)", gt=0)] = None
    header_timeout: Annotated[
        float, Help("seconds for a request's head to come, from the first byte or the connection on", gt=0)
    ] = 20.0
    body_timeout: Annotated[float, Help("seconds that a body may pause", gt=0)] = 30.0
    send_timeout: Annotated[float, Help("seconds that a client may take nothing of a response", gt=0)] = 60.0
    keep_alive_timeout: Annotated[float, Help("seconds that a connection may wait for a request", gt=0)] = (
        15.0
    )

    log_requests: Annotated[
        bool, Help("log each request: client, request line, status, bytes of the body, seconds")
    ] = False

    #: What can be agreed on over TLS. (IANA, TLS ALPN Protocol IDs)
    alpn_protocols: ClassVar[tuple[str, ...]] = ("http/1.1", "http/1.0")

    _limits: ClassVar[Limits]
    _make_parser: ClassVar[Callable[[], HeaderParser]]

    @classmethod
    def check_options(cls) -> None:
        """Find the parser, and keep what every connection needs. Raises OptionError."""
        try:
            cls._make_parser = staticmethod(parser_factory(cls.parser))
        except ImportError as error:
            raise OptionError(
                f"parser: {cls.parser} can't be imported ({error}); install it, or take parser=h11"
            ) from error
        if not (cls.server_header.isascii() and cls.server_header.isprintable()):
            raise OptionError(f"server_header: {cls.server_header!r} can't stand in a header; use ASCII")
        if cls.max_line_size > cls.max_head_size:
            raise OptionError(
                f"max_line_size: {cls.max_line_size} is more than max_head_size = {cls.max_head_size}"
            )
        cls._limits = Limits(
            cls.max_line_size, cls.max_head_size, cls.max_headers, cls.max_body_size, cls.max_requests
        )
        if cls.log_requests:
            enable_request_log()
        upper: Any = super()
        if hasattr(upper, "check_options"):
            upper.check_options()

    def limit_timeouts(self, limit: float | None) -> None:
        """Wait for nothing longer than *limit*, the server's idle timeout, which just cuts."""
        if limit is not None:
            for name in ("header_timeout", "body_timeout", "send_timeout", "keep_alive_timeout"):
                setattr(self, name, min(getattr(self, name), limit))

    @classmethod
    def make_connection(cls) -> ServerConnection:
        """Return the engine of a new connection."""
        if "_limits" not in vars(cls):  # a class that was not configured
            cls.check_options()
        connection_class = ServerConnection if not cls.log_requests else LoggedConnection
        return connection_class(cls._limits, cls._make_parser, server=cls.server_header.encode())
