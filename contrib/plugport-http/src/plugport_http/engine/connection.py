"""ServerConnection: the server side of one HTTP/1.1 connection, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from time import time
from typing import Literal

from plugport_http.engine.errors import HTTPError, ResponseError
from plugport_http.engine.limits import Limits
from plugport_http.engine.parsers import HeaderParser, parser_factory
from plugport_http.engine.reading import COMPLETE, ENDING, HEAD, RequestReader
from plugport_http.engine.response import ResponseHead, date_line, error_head

__all__ = ["ServerConnection"]

#: The framing of a response's body.
_Framing = Literal["none", "length", "chunked", "close"]
_DEFAULT = Limits()


@lru_cache(64)
def _server_line(server: bytes) -> bytes:
    return b"server: %b\r\n" % server if server else b""


class ServerConnection(RequestReader):
    """The server side of one HTTP/1.1 connection.

    Pass received bytes to receive_data(), and get requests and bodies from next_event(). Send the bytes that
    start_response(), send_body() and end_response() return. There is one current request at a time: the next
    one is parsed when the response is complete.

    *make_parser* is a result of parser_factory(); *server* is the value of the Server field (b"": none).
    """

    __slots__ = ("_body_unsent", "_framing", "_server_line", "client")

    def __init__(
        self,
        limits: Limits = _DEFAULT,
        make_parser: Callable[[], HeaderParser] | None = None,
        *,
        server: bytes = b"plugport",
    ) -> None:
        super().__init__(limits, (make_parser or parser_factory())())
        self._server_line = _server_line(server)
        self._framing: _Framing = "none"
        self._body_unsent = 0  # bytes of a response's body with a Content-Length
        #: The address of the client, for log lines.
        self.client: tuple[object, ...] | str | bytes | None = None

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> bytes:
        """Return a whole response; a missing Content-Length is added. Raises ResponseError."""
        headers = list(headers)
        if not any(name.lower() == b"content-length" for name, _ in headers):
            headers.append((b"content-length", b"%d" % len(body)))
        return self.send(ResponseHead(status, headers), body)

    def send(self, head: ResponseHead, body: bytes = b"") -> bytes:
        """Return a whole response, with a head that may be used again. Raises ResponseError.

        The Content-Length of *head* is the length of *body*, unless no body is sent: in reply to HEAD, or
        with a status that has none.
        """
        request = self.request
        if (
            request is not None
            and request.plain
            and head.plain
            and head.content_length == len(body)
            and self._state == ENDING
            and self.keep_alive
            and not self.response_started
        ):
            # The fast way, for most responses: the request does not change the head.
            self.request = None
            self._state = HEAD
            since, until, line, complete = head.completed
            if line is not self._server_line or not since <= time() < until:
                complete = head.complete(self._server_line)
            return complete + body
        block = self.start_response(head)
        if self._body_unsent == len(body):
            self._body_unsent = 0
        else:
            body = self.send_body(body)
        self._finish()
        return block + body if body and self._framing == "length" else block

    def start_response(self, head: ResponseHead) -> bytes:
        """Return the bytes of the head of the response to the current request.

        The body is framed by Content-Length; without one by chunks, or in HTTP/1.0 by the end of the
        connection. Raises ResponseError if there is no request without a response.
        """
        request = self.request
        if request is None or self.response_started:
            raise ResponseError("there is no request to respond to")
        self.response_started = True
        if head.close:
            self.keep_alive = False
        extra = b""
        if head.bodiless or request.method == "HEAD":
            self._framing, self._body_unsent = "none", 0
        elif head.content_length is not None:
            self._framing, self._body_unsent = "length", head.content_length
        else:
            self._body_unsent = 0
            if request.version == "1.1":
                self._framing, extra = "chunked", b"transfer-encoding: chunked\r\n"
            else:
                self._framing, self.keep_alive = "close", False
        if self._expects_continue or not self._can_skip():
            # After a final response instead of 100 Continue the client may send the body or not; and a long
            # body is not read to its end. In both cases the next request can't be found.
            self.keep_alive = False
        if not self.keep_alive:
            extra += b"connection: close\r\n"
        elif request.version == "1.0":
            extra += b"connection: keep-alive\r\n"
        if not head.has_date:
            extra += date_line()
        if not head.has_server:
            extra += self._server_line
        return head.block + extra + b"\r\n"

    def send_body(self, data: bytes) -> bytes:
        """Return the bytes for a piece of the response's body: b"" if the response has no body.

        Raises ResponseError if the body is longer than its Content-Length, or before start_response().
        """
        self.count_body(len(data))
        if self._framing == "chunked":
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        return b"" if self._framing == "none" else data

    def count_body(self, size: int) -> bool:
        """Count *size* bytes of the body that the caller sends itself, by sendfile(2) for example.

        Return whether to send them. Not for a chunked body. Raises ResponseError like send_body().
        """
        if self.request is None or not self.response_started:
            raise ResponseError("the body of a response must follow its head")
        if self._framing == "length":
            if size > self._body_unsent:
                self.keep_alive = False
                raise ResponseError("the body of the response is longer than its Content-Length")
            self._body_unsent -= size
        return self._framing != "none"

    @property
    def has_response_body(self) -> bool:
        """Whether the response that was started has a body."""
        return self._framing != "none"

    def end_response(self) -> bytes:
        """Return the bytes that end the response. Then call next_event(), or close if not ``keep_alive``.

        Raises ResponseError if the body is shorter than its Content-Length; close the connection then.
        """
        if self.request is None or not self.response_started:
            raise ResponseError("there is no response to end")
        if self._body_unsent:
            self._stop()
            raise ResponseError("the body of the response is shorter than its Content-Length")
        self._finish()
        return b"0\r\n\r\n" if self._framing == "chunked" else b""

    def _finish(self) -> None:
        self.request = None
        if not self.keep_alive:
            self._stop()
        elif self._state == ENDING or self._state == COMPLETE:
            self._state = HEAD
        else:
            self._body_seen = 0

    def connection_lost(self) -> None:
        """Handle the loss of the connection: the current response stays incomplete. A hook for subclasses."""

    def error_response(self, error: HTTPError, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """Return an error response to the current request, and stop reading; close the connection afterwards.

        Returns b"" if a response has begun: then the connection can only be reset.
        """
        has_begun = self.request is not None and self.response_started
        method = self.request.method if self.request is not None else ""
        self._stop()
        self.request = None
        if has_begun:
            return b""
        head, body = error_head(error.status, headers, detail=error.reason)
        block = head.block + b"connection: close\r\n" + date_line() + self._server_line + b"\r\n"
        return block if method == "HEAD" else block + body
