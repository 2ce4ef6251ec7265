"""Parsers of header fields behind one interface: httptools, in C, and h11, in Python.

Their input has passed the checks in plugport_http.engine.head, so that both give the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from plugport_http.engine.errors import HTTPError

__all__ = ["HeaderParser", "ParserName", "parser_factory"]

#: Takes the complete head of a request and returns its fields: names in lower case, values stripped.
HeaderParser = Callable[[bytes], list[tuple[bytes, bytes]]]
ParserName = Literal["auto", "httptools", "h11"]


def parser_factory(name: ParserName = "auto") -> Callable[[], HeaderParser]:
    """Return a function that makes the parser of a connection. Raises ImportError if it is not installed.

    "auto" is httptools if it can be imported, else h11.
    """
    if name == "h11":
        return _h11()
    try:
        return _httptools()
    except ImportError:
        if name == "httptools":
            raise
        return _h11()


def _httptools() -> Callable[[], HeaderParser]:
    from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

    class Callbacks:
        """The object whose methods the parser calls."""

        __slots__ = ("complete", "on_header")

        on_header: Callable[[bytes, bytes], None]
        complete: bool

        def on_message_complete(self) -> None:
            self.complete = True

    def make() -> HeaderParser:
        callbacks = Callbacks()
        fields: list[tuple[bytes, bytes]] = []
        feed: Callable[[bytes], None] | None = None

        def on_header(name: bytes, value: bytes) -> None:
            fields.append((name.lower(), value))

        callbacks.on_header = on_header

        def parse(head: bytes) -> list[tuple[bytes, bytes]]:
            nonlocal fields, feed
            used = feed is not None
            if feed is None:
                feed = HttpRequestParser(callbacks).feed_data
            fields = []
            callbacks.complete = False
            try:
                feed(head)
            except HttpParserUpgrade:
                pass
            except HttpParserError as error:
                feed = None
                if used:
                    # After "Proxy-Connection: close" the parser refuses all further input, although that
                    # field does not concern a server: try again with a new parser.
                    return parse(head)
                raise HTTPError(400, f"malformed: {error}") from error
            if not callbacks.complete:
                feed = None  # it expects a body, which the engine reads itself
            if b" \r\n" in head or b"\t\r\n" in head:
                fields = [(name, value.rstrip(b" \t")) for name, value in fields]
            return fields

        return parse

    return make


def _h11() -> Callable[[], HeaderParser]:
    import h11

    def parse(head: bytes) -> list[tuple[bytes, bytes]]:
        # A new one for each request: the engine itself reads bodies and keeps the order of requests.
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
        connection.receive_data(head)
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise HTTPError(400, f"malformed: {error}") from error
        assert isinstance(event, h11.Request)
        return list(event.headers)

    return lambda: parse
