"""RequestReader: the half of the engine that takes requests and their bodies out of what is received."""

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
HEAD, _LENGTH, _CHUNKED, ENDING, COMPLETE, _CLOSED = range(6)
#: Empty lines that may stand before a request line. (RFC 9112, 2.2)
_MAX_EMPTY_LINES = 4
#: Bytes of a body that nobody wants, which are read so that the connection can be kept.
_MAX_UNREAD = 65536
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class RequestReader:
    """Reads requests; ServerConnection, which answers them, says when one is done with."""

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
        self._remaining = 0  # of a body with a length
        self._body_seen = 0
        self._chunks: ChunkedDecoder | None = None
        self._expects_continue = False
        #: The last request, if nothing but its head came, and what that was.
        self._repeatable: Request | None = None
        self._repeatable_data = b""
        #: The number of the request that is the connection's last; a number for none, too, for it is
        #: compared often.
        self._last = -1 if limits.max_requests is None else limits.max_requests
        #: Whether the head of the response at hand was made.
        self.response_started = False
        #: The request at hand, from when next_event() returned it until its response is complete.
        self.request: Request | None = None
        #: How many requests have come.
        self.requests = 0
        #: Whether the connection goes on after the response at hand; to be set to False, not to True.
        self.keep_alive = True
        #: Whether something that was sent will not be looked at: closing at once could lose the response.
        self.dropped_input = False

    @property
    def buffered(self) -> int:
        """Bytes that were received, and not yet looked at."""
        return len(self._buffer) - self._position

    @property
    def eof_received(self) -> bool:
        """Whether the client has said that it sends no more."""
        return self._eof

    def is_idle(self) -> bool:
        """Whether it waits for another request, of which nothing has come."""
        return self._state == HEAD and self._position == len(self._buffer) and not self._eof

    @property
    def is_reading_head(self) -> bool:
        """Whether it waits for the head of a request, the rest of it if ``buffered``."""
        return self._state == HEAD

    @property
    def is_reading_body(self) -> bool:
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

    def receive_repeated(self, data: bytes) -> Request | None:
        """Take *data*, if it is what came for the last request, byte for byte and at once: return that again.

        Clients that stay mostly ask so. Else nothing is done, and *data* is for receive_data().
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
            # What _begin() does, for one without a body; it is what most requests come to.
            self._state = ENDING
            self._empty_lines = 0
            self._expects_continue = self.response_started = False
            self.requests += 1
            if not request.keep_alive or self.requests == self._last:
                self.keep_alive = False
            self.request = request
        return request

    def is_repeatable(self, request: Request) -> bool:
        """Whether receive_repeated() would know *request*: nothing came with it but its head."""
        return request is self._repeatable

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
                raise HTTPError(400, "the request is not complete")
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
        """Return what to send when the application first wants the body: 100 Continue, or nothing.

        It is b"" for a client that does not wait for it, or has begun to send.
        """
        if self._expects_continue and not self.response_started and self._position == len(self._buffer):
            self._expects_continue = False
            return _CONTINUE
        return b""

    def detach(self) -> bytes:
        """Give the connection to another protocol (Upgrade); return what was received and not looked at."""
        rest = self._buffer[self._position :]
        self._stop()
        self.request = None
        return rest

    def _can_skip(self) -> bool:
        """Whether what is to come of the body is so short that it may be dropped, or may be."""
        return self._state >= ENDING or self._chunks is not None or self._remaining <= _MAX_UNREAD

    def _stop(self) -> None:
        if self._state == _LENGTH or self._state == _CHUNKED or self._position < len(self._buffer):
            self.dropped_input = True
        self._state = _CLOSED
        self._buffer, self._position = b"", 0
        self.keep_alive = False
