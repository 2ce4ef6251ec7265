"""HTTPSettings: the options of all HTTP handlers, and the engine that they configure."""

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
        Literal["auto", "httptools", "h11"],
        Help("parser of header fields (auto: httptools if it is installed, else h11)"),
    ] = "auto"
    server_header: Annotated[str, Help("value of the Server field (empty: no such field)")] = "plugport"
    max_line_size: Annotated[int, Help("maximum bytes of a request line; status 414 above", gt=0)] = 8192
    max_head_size: Annotated[
        int, Help("maximum bytes of a request line and its header fields; status 431 above", gt=0)
    ] = 32768
    max_headers: Annotated[int, Help("maximum number of header fields; status 431 above", gt=0)] = 100
    max_body_size: Annotated[
        int | None, Help("maximum bytes of a body; status 413 above (null: no limit)", ge=0)
    ] = None
    max_requests: Annotated[
        int | None, Help("maximum number of requests per connection (null: no limit)", gt=0)
    ] = None
    header_timeout: Annotated[
        float,
        Help("seconds for the head of a request to arrive, from its first byte or from the connection", gt=0),
    ] = 20.0
    body_timeout: Annotated[
        float, Help("seconds without data before an incomplete body is given up; status 408", gt=0)
    ] = 30.0
    send_timeout: Annotated[
        float, Help("seconds without progress before a connection that takes no data is closed", gt=0)
    ] = 60.0
    keep_alive_timeout: Annotated[
        float, Help("seconds between requests before a connection is closed", gt=0)
    ] = 15.0

    log_requests: Annotated[
        bool, Help("one log line per request: client, request line, status, bytes of the body, seconds")
    ] = False

    #: The names for ALPN. (IANA, TLS ALPN Protocol IDs)
    alpn_protocols: ClassVar[tuple[str, ...]] = ("http/1.1", "http/1.0")

    _limits: ClassVar[Limits]
    _make_parser: ClassVar[Callable[[], HeaderParser]]

    @classmethod
    def check_options(cls) -> None:
        """Find the parser, and prepare the settings of connections. Raises OptionError."""
        try:
            cls._make_parser = staticmethod(parser_factory(cls.parser))
        except ImportError as error:
            raise OptionError(
                f"parser: {cls.parser} can't be imported ({error}); install it, or set parser=h11"
            ) from error
        if not (cls.server_header.isascii() and cls.server_header.isprintable()):
            raise OptionError(
                f"server_header: {cls.server_header!r} can't be a header value; use printable ASCII"
            )
        if cls.max_line_size > cls.max_head_size:
            raise OptionError(
                f"max_line_size: {cls.max_line_size} exceeds max_head_size = {cls.max_head_size}; lower it"
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
        """Lower each timeout to *limit*, the server's idle_timeout, which would close without a response."""
        if limit is not None:
            for name in ("header_timeout", "body_timeout", "send_timeout", "keep_alive_timeout"):
                setattr(self, name, min(getattr(self, name), limit))

    @classmethod
    def make_connection(cls) -> ServerConnection:
        """Return the engine of a new connection."""
        if "_limits" not in vars(cls):  # the class was not configured by a service
            cls.check_options()
        connection_class = ServerConnection if not cls.log_requests else LoggedConnection
        return connection_class(cls._limits, cls._make_parser, server=cls.server_header.encode())
