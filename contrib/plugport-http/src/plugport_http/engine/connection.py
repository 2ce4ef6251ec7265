"""ServerConnection: the server's side of one HTTP/1.1 connection, without any I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from time import time
from typing import Any, Literal

from plugport_http.engine.errors import HTTPError, ResponseError
from plugport_http.engine.limits import Limits
from plugport_http.engine.parsers import HeaderParser, parser_factory
from plugport_http.engine.reading import COMPLETE, ENDING, HEAD, RequestReader
from plugport_http.engine.response import ResponseHead, date_line, error_head

__all__ = ["ServerConnection"]

#: How the body of the response is framed.
_Framing = Literal["none", "length", "chunked", "close"]
_DEFAULT = Limits()


@lru_cache(64)
def _server_line(server: bytes) -> bytes:
    return b"server: %b\r\n" % server if server else b""


class ServerConnection(RequestReader):
    """The server's side of one HTTP/1.1 connection.

    Give it what comes by receive_data(), and take requests and bodies out of it by next_event();
    what start_response(), send_body() and end_response() return is to be sent. One request is at
    hand at a time: the next is not looked at before the response to it is complete.

    *make_parser*: what parser_factory() returned. *server*: the value of the field Server; b"" for
    none.
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
        self._body_unsent = 0  # of a body with a length
        #: The address of the client, for who wants to tell of it.
        self.client: Any = None

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> bytes:
        """Return a whole response; Content-Length is added if it is missing. Raises ResponseError."""
        headers = list(headers)
        if not any(name.lower() == b"content-length" for name, _ in headers):
            headers.append((b"content-length", b"%d" % len(body)))
        return self.send(ResponseHead(status, headers), body)

    def send(self, head: ResponseHead, body: bytes = b"") -> bytes:
        """Return a whole response of a head that may have been prepared before. Raises ResponseError.

        The head has a Content-Length, which is that of *body* unless the body is not sent: to HEAD
        or with a status that has none.
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
            # As most are: nothing of the head depends on the request.
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
        """Return the head of a response to the request at hand, as it is to be sent.

        The body is framed by its Content-Length; without one by chunks, or for HTTP/1.0 by the end
        of the connection. Raises ResponseError if there is nothing to respond to.
        """
        request = self.request
        if request is None or self.response_started:
            raise ResponseError("there is no request that this could respond to")
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
            # A client that waits for leave to send may send or not; one that sends much would go on.
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
        """Return a piece of the response's body as it is to be sent: b"" where the response has none.

        Raises ResponseError for more than the Content-Length, or without a response.
        """
        self.count_body(len(data))
        if self._framing == "chunked":
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        return b"" if self._framing == "none" else data

    def count_body(self, size: int) -> bool:
        """Count bytes of the body that are sent by other means, sendfile() say; return whether to send them.

        Not for a body in chunks. Raises ResponseError as send_body() does.
        """
        if self.request is None or not self.response_started:
            raise ResponseError("the body of a response comes after its head")
        if self._framing == "length":
            if size > self._body_unsent:
                self.keep_alive = False
                raise ResponseError("the body of the response is longer than its Content-Length")
            self._body_unsent -= size
        return self._framing != "none"

    @property
    def has_response_body(self) -> bool:
        """Whether a body is to be sent for the head that was started."""
        return self._framing != "none"

    def end_response(self) -> bytes:
        """Return what ends the response. Then next_event() goes on; or close, if not ``keep_alive``.

        Raises ResponseError if the body is shorter than the Content-Length: close the connection.
        """
        if self.request is None or not self.response_started:
            raise ResponseError("there is no response that could end")
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
        """The connection is lost, or cut: a response at hand will not be complete. Does nothing here."""

    def error_response(self, error: HTTPError, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """Return the response to a request that is bad, and close: nothing is read any more.

        It is b"" where a response has begun already: the connection can only be cut.
        """
        begun = self.request is not None and self.response_started
        method = self.request.method if self.request is not None else ""
        self._stop()
        self.request = None
        if begun:
            return b""
        head, body = error_head(error.status, headers, detail=error.reason)
        block = head.block + b"connection: close\r\n" + date_line() + self._server_line + b"\r\n"
        return block if method == "HEAD" else block + body
