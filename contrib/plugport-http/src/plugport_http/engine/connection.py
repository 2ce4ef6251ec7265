"""ServerConnection: the server's side of one HTTP/1.1 connection, without any I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, Literal

from plugport_http.engine.chunks import ChunkedDecoder
from plugport_http.engine.errors import HTTPError, ResponseError
from plugport_http.engine.head import find_end, read_head
from plugport_http.engine.limits import Limits
from plugport_http.engine.parsers import HeaderParser, parser_factory
from plugport_http.engine.request import Request
from plugport_http.engine.response import ResponseHead, date_line, error_head

__all__ = [
    "CLOSED",
    "END_OF_MESSAGE",
    "NEED_DATA",
    "PAUSED",
    "Event",
    "ServerConnection",
    "Signal",
]


class Signal(Enum):
    """What next_event() returns besides requests and pieces of bodies."""

    NEED_DATA = "need data"
    END_OF_MESSAGE = "end of message"
    PAUSED = "paused"
    CLOSED = "closed"


#: Give receive_data() more first.
NEED_DATA: Final = Signal.NEED_DATA
#: The request is complete.
END_OF_MESSAGE: Final = Signal.END_OF_MESSAGE
#: The request is complete and its response is not: what follows is not looked at before that.
PAUSED: Final = Signal.PAUSED
#: No request will come any more; when the response at hand is complete, close the connection.
CLOSED: Final = Signal.CLOSED

Event = Request | bytes | Signal

#: Where in the stream of requests it is.
_HEAD, _LENGTH, _CHUNKED, _ENDING, _COMPLETE, _CLOSED = range(6)
#: How the body of the response is framed.
_Framing = Literal["none", "length", "chunked", "close"]

#: Empty lines that may stand before a request line. (RFC 9112, 2.2)
_MAX_EMPTY_LINES = 4
#: Bytes of a body that nobody wants, which are read so that the connection can be kept.
_MAX_UNREAD = 65536
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_DEFAULT = Limits()


class ServerConnection:
    """The server's side of one HTTP/1.1 connection.

    Give it what comes by receive_data(), and take requests and bodies out of it by next_event();
    what start_response(), send_body() and end_response() return is to be sent. One request is at
    hand at a time: the next is not looked at before the response to it is complete.

    *make_parser*: what parser_factory() returned. *server*: the value of the field Server; b"" for
    none.
    """

    __slots__ = (
        "_blanks",
        "_body_seen",
        "_buffer",
        "_chunks",
        "_continue",
        "_eof",
        "_framing",
        "_left",
        "_limits",
        "_parse",
        "_position",
        "_server_line",
        "_started",
        "_state",
        "_to_send",
        "dropped_input",
        "keep_alive",
        "request",
        "requests",
    )

    def __init__(
        self,
        limits: Limits = _DEFAULT,
        make_parser: Callable[[], HeaderParser] | None = None,
        *,
        server: bytes = b"plugport",
    ) -> None:
        self._limits = limits
        self._parse = (make_parser or parser_factory())()
        self._server_line = b"server: %b\r\n" % server if server else b""
        self._buffer = b""
        self._position = 0
        self._eof = False
        self._state = _HEAD
        self._blanks = 0
        self._left = 0  # of a body with a length
        self._body_seen = 0
        self._chunks: ChunkedDecoder | None = None
        self._continue = False
        self._started = False
        self._framing: _Framing = "none"
        self._to_send = 0  # of a response with a length
        #: The request at hand, from when next_event() returned it until its response is complete.
        self.request: Request | None = None
        #: How many requests have come.
        self.requests = 0
        #: Whether the connection goes on after the response at hand; to be set to False, not to True.
        self.keep_alive = True
        #: Whether something that was sent will not be looked at: closing at once could lose the response.
        self.dropped_input = False

    # Requests -----------------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """Bytes that were received, and not yet looked at."""
        return len(self._buffer) - self._position

    @property
    def eof_received(self) -> bool:
        """Whether the client has said that it sends no more."""
        return self._eof

    @property
    def reads_head(self) -> bool:
        """Whether it waits for the head of a request, the rest of it if ``buffered``."""
        return self._state == _HEAD

    @property
    def reads_body(self) -> bool:
        """Whether the body of the request at hand has not come to its end."""
        return self._state == _LENGTH or self._state == _CHUNKED

    def receive_data(self, data: bytes) -> None:
        """Take what was received; b"" says that the client sends no more."""
        if not data:
            self._eof = True
        elif self._state != _CLOSED:
            if self._position < len(self._buffer):
                data = self._buffer[self._position :] + data
            self._buffer = data
            self._position = 0

    def next_event(self) -> Event:
        """Return the next of what has come.

        A Request; then, while it ``has_body``, pieces of its body as bytes, never empty; then
        END_OF_MESSAGE. Else NEED_DATA, PAUSED or CLOSED. Of a request that is answered before its
        body has come the rest is read and dropped here, if it is short; else the connection ends.

        Raises HTTPError for what is bad: answer it by error_response(). Nothing that follows it is
        looked at.
        """
        try:
            while True:
                state = self._state
                if state == _HEAD:
                    return self._next_head()
                if state == _ENDING:
                    self._state = _COMPLETE
                    return END_OF_MESSAGE
                if state == _COMPLETE:
                    return PAUSED
                if state == _CLOSED:
                    return CLOSED
                if self.request is not None:
                    return self._next_of_body()
                if not self._drop_body():
                    return NEED_DATA
        except HTTPError:
            self._stop()
            raise

    def _next_head(self) -> Event:
        data = self._buffer
        if self._position:
            data = self._buffer = data[self._position :]
            self._position = 0
        if data[:1] == b"\r" or data[:1] == b"\n":
            data = self._skip_empty_lines(data)
        end = find_end(data, self._limits) if data else 0
        if not end:
            if not self._eof:
                return NEED_DATA
            if data:
                raise HTTPError(400, "the request is not complete")
            self._stop()
            return CLOSED
        request = read_head(data if end == len(data) else data[:end], self._parse, self._limits)
        self._position = end
        self._blanks = 0
        self.requests += 1
        self._started = False
        self._continue = request.expect_continue
        length = request.content_length
        if length == 0:
            self._state = _ENDING
        else:
            self._begin_body(length)
        self.keep_alive = (
            request.keep_alive and self.keep_alive and self.requests != self._limits.max_requests
        )
        self.request = request
        return request

    def _skip_empty_lines(self, data: bytes) -> bytes:
        while data[:2] == b"\r\n":
            data = data[2:]
            self._blanks += 1
            if self._blanks > _MAX_EMPTY_LINES:
                raise HTTPError(400, "too many empty lines before the request")
        self._buffer = data
        return data

    def _begin_body(self, length: int | None) -> None:
        self._body_seen = 0
        if length is None:
            self._chunks = ChunkedDecoder()
            self._state = _CHUNKED
            return
        most = self._limits.max_body_size
        if most is not None and length > most:
            raise HTTPError(413, f"the body is larger than {most} bytes")
        self._left = length
        self._state = _LENGTH

    def _next_of_body(self) -> Event:
        buffer, start = self._buffer, self._position
        if self._chunks is None:
            whole = not start and len(buffer) <= self._left
            piece = buffer if whole else buffer[start : start + self._left]
            self._position = start + len(piece)
            self._left -= len(piece)
            if not self._left:
                self._state = _ENDING
        else:
            piece, self._position = self._chunks.decode(buffer, start)
            if self._chunks.ended:
                self._chunks = None
                self._state = _ENDING
        if piece:
            self._count_body(len(piece))
            return piece
        if self._state == _ENDING:
            self._state = _COMPLETE
            return END_OF_MESSAGE
        if self._eof:
            raise HTTPError(400, "the body is not complete")
        return NEED_DATA

    def _drop_body(self) -> bool:
        """Drop what has come of a body that nobody wants any more; return whether to go on."""
        try:
            event = self._next_of_body()
        except HTTPError:
            # Its request was answered: another answer would be taken for one to the next.
            self._stop()
            return True
        if event is NEED_DATA:
            return False
        if self._body_seen > _MAX_UNREAD:
            self._stop()
        elif self._state in (_ENDING, _COMPLETE):
            self._state = _HEAD
        return True

    def _count_body(self, size: int) -> None:
        self._continue = False
        self._body_seen += size
        most = self._limits.max_body_size
        if most is not None and self._body_seen > most:
            raise HTTPError(413, f"the body is larger than {most} bytes")

    def continue_response(self) -> bytes:
        """Return what to send when the application first wants the body: 100 Continue, or nothing.

        It is b"" for a client that does not wait for it, or has begun to send.
        """
        if self._continue and not self._started and self._position == len(self._buffer):
            self._continue = False
            return _CONTINUE
        return b""

    def detach(self) -> bytes:
        """Give the connection to another protocol (Upgrade); return what was received and not looked at."""
        rest = self._buffer[self._position :]
        self._stop()
        self.request = None
        return rest

    def _stop(self) -> None:
        if self._state == _LENGTH or self._state == _CHUNKED or self._position < len(self._buffer):
            self.dropped_input = True
        self._state = _CLOSED
        self._buffer, self._position = b"", 0
        self.keep_alive = False

    # Responses ----------------------------------------------------------------------------------

    @property
    def response_started(self) -> bool:
        """Whether the head of the response at hand was made."""
        return self._started

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
        block = self.start_response(head)
        if self._to_send == len(body):
            self._to_send = 0
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
        if request is None or self._started:
            raise ResponseError("there is no request that this could respond to")
        self._started = True
        if head.close:
            self.keep_alive = False
        extra = b""
        if head.bodiless or request.method == "HEAD":
            self._framing, self._to_send = "none", 0
        elif head.content_length is not None:
            self._framing, self._to_send = "length", head.content_length
        else:
            self._to_send = 0
            if request.version == "1.1":
                self._framing, extra = "chunked", b"transfer-encoding: chunked\r\n"
            else:
                self._framing, self.keep_alive = "close", False
        if self._continue or (self._state in (_LENGTH, _CHUNKED) and not self._can_skip()):
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

    def _can_skip(self) -> bool:
        return self._chunks is not None or self._left <= _MAX_UNREAD

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
        if self.request is None or not self._started:
            raise ResponseError("the body of a response comes after its head")
        if self._framing == "length":
            if size > self._to_send:
                self.keep_alive = False
                raise ResponseError("the body of the response is longer than its Content-Length")
            self._to_send -= size
        return self._framing != "none"

    @property
    def wants_body(self) -> bool:
        """Whether a body is to be sent for the head that was started."""
        return self._framing != "none"

    def end_response(self) -> bytes:
        """Return what ends the response. Then next_event() goes on; or close, if not ``keep_alive``.

        Raises ResponseError if the body is shorter than the Content-Length: close the connection.
        """
        if self.request is None or not self._started:
            raise ResponseError("there is no response that could end")
        if self._to_send:
            self._stop()
            raise ResponseError("the body of the response is shorter than its Content-Length")
        self._finish()
        return b"0\r\n\r\n" if self._framing == "chunked" else b""

    def _finish(self) -> None:
        self.request = None
        if not self.keep_alive:
            self._stop()
        elif self._state == _ENDING or self._state == _COMPLETE:
            self._state = _HEAD
        else:
            self._body_seen = 0

    def error_response(self, error: HTTPError, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """Return the response to a request that is bad, and close: nothing is read any more.

        It is b"" where a response has begun already: the connection can only be cut.
        """
        begun = self.request is not None and self._started
        method = self.request.method if self.request is not None else ""
        self._stop()
        self.request = None
        if begun:
            return b""
        head, body = error_head(error.status, headers, detail=error.reason)
        block = head.block + b"connection: close\r\n" + date_line() + self._server_line + b"\r\n"
        return block if method == "HEAD" else block + body
