"""RequestReader: the receiving half of the engine, which parses requests and their bodies."""

from __future__ import annotations

from enum import Enum
from typing import Final

from plugport_http.engine.chunks import ChunkedDecoder
from plugport_http.engine.errors import HTTPError
from plugport_http.engine.head import HeadReader
from plugport_http.engine.limits import Limits
from plugport_http.engine.parsers import HeaderParser
from plugport_http.engine.request import Request

__all__ = [
    "CLOSED",
    "COMPLETE",
    "ENDING",
    "END_OF_MESSAGE",
    "HEAD",
    "NEED_DATA",
    "PAUSED",
    "Event",
    "RequestReader",
    "Signal",
]


class Signal(Enum):
    """The results of next_event() besides requests and pieces of bodies."""

    NEED_DATA = "need data"
    END_OF_MESSAGE = "end of message"
    PAUSED = "paused"
    CLOSED = "closed"


#: Call receive_data() first.
NEED_DATA: Final = Signal.NEED_DATA
#: The request is complete.
END_OF_MESSAGE: Final = Signal.END_OF_MESSAGE
#: The request is complete but its response is not: the next request is not parsed yet.
PAUSED: Final = Signal.PAUSED
#: There will be no further request: close the connection when the current response is complete.
CLOSED: Final = Signal.CLOSED

Event = Request | bytes | Signal

#: States: which part of a request comes next.
HEAD, _LENGTH, _CHUNKED, ENDING, COMPLETE, _CLOSED = range(6)
#: Empty lines allowed before a request line. (RFC 9112, 2.2)
_MAX_EMPTY_LINES = 4
#: Bytes of an unread body that are read and dropped to keep the connection open.
_MAX_UNREAD = 65536
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class RequestReader:
    """Reads requests; its subclass ServerConnection writes the responses."""

    __slots__ = (
        "_body_seen",
        "_buffer",
        "_chunks",
        "_empty_lines",
        "_eof",
        "_expects_continue",
        "_head",
        "_last",
        "_limits",
        "_position",
        "_remaining",
        "_repeatable",
        "_repeatable_data",
        "_state",
        "dropped_input",
        "keep_alive",
        "request",
        "requests",
        "response_started",
    )

    def __init__(self, limits: Limits, parse: HeaderParser) -> None:
        self._limits = limits
        self._head = HeadReader(limits, parse)
        self._buffer = b""
        self._position = 0
        self._eof = False
        self._state = HEAD
        self._empty_lines = 0
        self._remaining = 0  # bytes of a body with a Content-Length
        self._body_seen = 0
        self._chunks: ChunkedDecoder | None = None
        self._expects_continue = False
        #: The last request and its bytes, if it arrived alone and without a body.
        self._repeatable: Request | None = None
        self._repeatable_data = b""
        #: The number of the connection's last request; -1 for no limit, so that comparing it is cheap.
        self._last = -1 if limits.max_requests is None else limits.max_requests
        #: Whether start_response() was called for the current request.
        self.response_started = False
        #: The current request: from the moment next_event() returns it until its response is complete.
        self.request: Request | None = None
        #: The number of requests so far.
        self.requests = 0
        #: Whether the connection stays open after the current response. Set it to False only.
        self.keep_alive = True
        #: Whether input was dropped: to close at once could destroy the response on its way (RFC 9112, 9.6).
        self.dropped_input = False

    @property
    def buffered(self) -> int:
        """The number of bytes that were received and not parsed yet."""
        return len(self._buffer) - self._position

    @property
    def eof_received(self) -> bool:
        """Whether the client has ended its side of the connection."""
        return self._eof

    def is_idle(self) -> bool:
        """Return whether the engine waits for a request and has no byte of it."""
        return self._state == HEAD and self._position == len(self._buffer) and not self._eof

    @property
    def is_reading_head(self) -> bool:
        """Whether the engine waits for the head of a request, or for the rest of it if ``buffered``."""
        return self._state == HEAD

    @property
    def is_reading_body(self) -> bool:
        """Whether the body of the current request is incomplete."""
        return self._state == _LENGTH or self._state == _CHUNKED

    def receive_data(self, data: bytes) -> None:
        """Take received bytes; b"" means that the client has ended its side."""
        if not data:
            self._eof = True
        elif self._state != _CLOSED:
            if self._position < len(self._buffer):
                data = self._buffer[self._position :] + data
            self._buffer = data
            self._position = 0

    def receive_repeated(self, data: bytes) -> Request | None:
        """Return the last request again if *data* repeats it, byte for byte and in one piece; else None.

        Most requests on a persistent connection are such repeats. After None pass *data* to receive_data().
        """
        if (
            data != self._repeatable_data
            or self._state != HEAD
            or self._position < len(self._buffer)
            or self._eof
        ):
            return None
        request = self._repeatable
        if request is not None:
            # The same as _begin() for a request without a body, inlined for speed.
            self._state = ENDING
            self._empty_lines = 0
            self._expects_continue = self.response_started = False
            self.requests += 1
            if not request.keep_alive or self.requests == self._last:
                self.keep_alive = False
            self.request = request
        return request

    def is_repeatable(self, request: Request) -> bool:
        """Return whether receive_repeated() may return *request*: it arrived alone and without a body."""
        return request is self._repeatable

    def next_event(self) -> Event:
        """Return the next event.

        It is a Request; then, if it ``has_body``, non-empty pieces of its body as bytes; then END_OF_MESSAGE.
        Otherwise NEED_DATA, PAUSED or CLOSED. If a request is answered before its body is complete, the rest
        of the body is read and dropped if it is short; else the connection ends.

        Raises HTTPError for invalid input: answer with error_response(). Nothing after it is parsed.
        """
        try:
            while True:
                state = self._state
                if state == HEAD:
                    return self._next_head()
                if state == ENDING:
                    self._state = COMPLETE
                    return END_OF_MESSAGE
                if state == COMPLETE:
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
        if data and data[0] <= 0x0D:
            data = self._skip_empty_lines(data)
        request = self._head.read(data) if data else None
        if request is None:
            if not self._eof:
                return NEED_DATA
            if data:
                raise HTTPError(400, "the request is incomplete")
            self._stop()
            return CLOSED
        self._position = self._head.end
        if request.content_length == 0:
            self._state = ENDING
            if self._position == len(data):
                self._repeatable, self._repeatable_data = request, data
        else:
            self._begin_body(request.content_length)
        self._begin(request)
        return request

    def _begin(self, request: Request) -> None:
        self._empty_lines = 0
        self._expects_continue = request.expect_continue
        self.requests += 1
        self.response_started = False
        if not request.keep_alive or self.requests == self._last:
            self.keep_alive = False
        self.request = request

    def _skip_empty_lines(self, data: bytes) -> bytes:
        while data[:2] == b"\r\n":
            data = data[2:]
            self._empty_lines += 1
            if self._empty_lines > _MAX_EMPTY_LINES:
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
        self._remaining = length
        self._state = _LENGTH

    def _next_of_body(self) -> Event:
        buffer, start = self._buffer, self._position
        if self._chunks is None:
            whole = not start and len(buffer) <= self._remaining
            piece = buffer if whole else buffer[start : start + self._remaining]
            self._position = start + len(piece)
            self._remaining -= len(piece)
            if not self._remaining:
                self._state = ENDING
        else:
            piece, self._position = self._chunks.decode(buffer, start)
            if self._chunks.ended:
                self._chunks = None
                self._state = ENDING
        if piece:
            self._count_body(len(piece))
            return piece
        if self._state == ENDING:
            self._state = COMPLETE
            return END_OF_MESSAGE
        if self._eof:
            raise HTTPError(400, "the body is incomplete")
        return NEED_DATA

    def _drop_body(self) -> bool:
        """Drop a piece of the body of a request that was answered; return whether next_event() can go on."""
        try:
            event = self._next_of_body()
        except HTTPError:
            # The request has its response: the client would take another one for that to its next request.
            self._stop()
            return True
        if event is NEED_DATA:
            return False
        if self._body_seen > _MAX_UNREAD:
            self._stop()
        elif self._state in (ENDING, COMPLETE):
            self._state = HEAD
        return True

    def _count_body(self, size: int) -> None:
        self._expects_continue = False
        self._body_seen += size
        most = self._limits.max_body_size
        if most is not None and self._body_seen > most:
            raise HTTPError(413, f"the body is larger than {most} bytes")

    def continue_response(self) -> bytes:
        """Return the bytes to send when the application begins to read the body: 100 Continue, or b"".

        b"" if the client does not wait for it, or has begun to send the body.
        """
        if self._expects_continue and not self.response_started and self._position == len(self._buffer):
            self._expects_continue = False
            return _CONTINUE
        return b""

    def detach(self) -> bytes:
        """End HTTP on this connection, for an Upgrade; return the bytes that were received and not parsed."""
        rest = self._buffer[self._position :]
        self._stop()
        self.request = None
        return rest

    def _can_skip(self) -> bool:
        """Return whether the rest of the body is short enough to be dropped, or may be."""
        return self._state >= ENDING or self._chunks is not None or self._remaining <= _MAX_UNREAD

    def _stop(self) -> None:
        if self._state == _LENGTH or self._state == _CHUNKED or self._position < len(self._buffer):
            self.dropped_input = True
        self._state = _CLOSED
        self._buffer, self._position = b"", 0
        self.keep_alive = False
