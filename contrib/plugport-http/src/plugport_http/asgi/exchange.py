"""Exchange: one call of an ASGI application for one HTTP request, and its response."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from plugport.contracts import Transport

from plugport_http.asgi.flowcontrol import ClientDisconnectedError, FlowControl
from plugport_http.asgi.interface import ASGIApplication, Message, Scope
from plugport_http.engine import HTTPError, Request, ResponseError, ResponseHead, ServerConnection

__all__ = ["Exchange"]

logger = logging.getLogger("plugport.http.asgi")

#: Cached heads by status, length and headers: most applications send few different ones.
_HEADS: dict[tuple[object, ...], ResponseHead] = {}
_MAX_HEADS = 256
#: Bytes that a response may send before other tasks have their turn.
_MAX_BURST = 262144


class Connection(Protocol):
    """What an exchange needs of its connection: plugport_http.asgi.handler.ASGIProtocol."""

    http: ServerConnection
    flow: FlowControl
    transport: Transport
    #: Whether the client has ended its side.
    half_closed: bool

    def request_chunk(self) -> None: ...
    def start_response(self, head: ResponseHead, body: bytes = b"") -> None: ...
    def send_response(self, head: ResponseHead, body: bytes = b"") -> None: ...
    def send_body(self, data: bytes) -> None: ...
    def end_response(self) -> None: ...
    def send_error(self, error: HTTPError, *headers: tuple[bytes, bytes]) -> None: ...
    def reset(self) -> None: ...
    def exchange_ended(self, exchange: Exchange) -> None: ...


class Exchange:
    """The receive() and send() of one request."""

    __slots__ = (
        "_body_ended",
        "_burst",
        "_chunk",
        "_connection",
        "_is_body_delivered",
        "_receivers",
        "_request",
        "_start",
        "_started",
        "disconnected",
        "ended",
        "task",
    )

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        self._request = request
        #: The message http.response.start, until it is sent with the first piece of the body.
        self._start: Message | None = None
        self._started = False
        #: Whether the response is complete.
        self.ended = False
        #: Whether the response can't be completed: the client disconnected, or got an error.
        self.disconnected = False
        self._chunk: bytes | None = None  # a piece of the body for the next receive()
        self._body_ended = self._is_body_delivered = False
        self._receivers: list[asyncio.Future[None]] | None = None
        self._burst = 0
        self.task: asyncio.Task[None] | None = None

    async def run(self, application: ASGIApplication, scope: Scope) -> None:
        """Call the application; send an error or reset the connection if its response is incomplete."""
        try:
            await application(scope, self.receive, self.send)
            if not (self.ended or self.disconnected):
                self._fail("%s %s: the application returned before its response was complete", None)
        except Exception as error:
            if not (self.disconnected and isinstance(error, ClientDisconnectedError)):
                self._fail("%s %s failed", error)
        finally:
            if not (self.ended or self.disconnected):  # the task was cancelled
                self.disconnected = True
                self._connection.reset()
            self.task = None  # breaks a reference cycle: the task has this frame
            self._connection.exchange_ended(self)

    def _fail(self, message: str, error: Exception | None) -> None:
        request = self._request
        logger.error(message, request.method, request.path.decode("latin-1"), exc_info=error)
        if self.ended or self.disconnected:
            return
        self.disconnected = True
        if self._connection.http.response_started:
            self._connection.reset()
        else:
            self._connection.send_error(HTTPError(500, ""))

    # Called by the application ----------------------------------------------------------------------

    async def receive(self) -> Message:
        """Return the next piece of the body; http.disconnect after the end of the client or the response."""
        if not (self._is_body_delivered or self.ended):
            if not self._request.has_body:
                self._is_body_delivered = True
                return {"type": "http.request", "body": b"", "more_body": False}
            while not (self.disconnected or self.ended):
                if self._chunk is None and not self._body_ended:
                    self._connection.request_chunk()
                chunk, self._chunk = self._chunk, None
                if chunk is not None or self._body_ended:
                    more = not self._body_ended and self._connection.http.is_reading_body
                    self._is_body_delivered = not more
                    return {"type": "http.request", "body": chunk or b"", "more_body": more}
                if not self.disconnected:
                    await self._wait()
        while not (self.disconnected or self.ended or self._connection.half_closed):
            await self._wait()
        return {"type": "http.disconnect"}

    async def _wait(self) -> None:
        receiver: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._receivers is None:
            self._receivers = []
        self._receivers.append(receiver)
        await receiver

    async def send(self, message: Message) -> None:
        """Send a part of the response; wait while too much is unsent. Raises ClientDisconnectedError."""
        if self.disconnected:
            raise ClientDisconnectedError("the client disconnected")
        if self.ended:
            return  # ASGI HTTP, "Response Body": further messages are ignored
        kind = message["type"]
        connection = self._connection
        if kind == "http.response.body":
            body = message.get("body", b"")
            if type(body) is not bytes:
                body = bytes(body)
            more = message.get("more_body", False)
            if self._started:
                if body:
                    await self._prepare_chunk(len(body))
                    connection.send_body(body)
                if not more:
                    self._end()
                    connection.end_response()
            elif self._start is None:
                raise RuntimeError("http.response.body must follow http.response.start")
            elif more:
                head = _make_head(self._start, None)
                self._check_length(head, len(body), more)
                self._started = True
                connection.start_response(head, body)
            else:
                # An empty body in reply to HEAD does not tell the length of the body in reply to GET.
                is_unknown = not body and self._request.method == "HEAD"
                head = _make_head(self._start, None if is_unknown else len(body))
                self._check_length(head, len(body), more)
                self._started = True
                self._end()
                connection.send_response(head, body)
        elif kind == "http.response.start":
            if self._start is not None:
                raise RuntimeError("http.response.start must be sent once")
            self._start = message
        else:
            raise RuntimeError(f"{kind!r} is not a message of a response")
        if connection.flow.paused:
            await connection.flow.drain()
            if self.disconnected:
                raise ClientDisconnectedError("the client disconnected")

    async def _prepare_chunk(self, size: int) -> None:
        """Let other tasks run after a burst. Raises ClientDisconnectedError."""
        self._burst += size
        if self._burst > _MAX_BURST:
            self._burst = 0
            await asyncio.sleep(0)
        if self.disconnected or self._connection.transport.is_closing():
            self.disconnected = True
            raise ClientDisconnectedError("the client disconnected")

    def _check_length(self, head: ResponseHead, size: int, more: bool) -> None:
        """Raise ResponseError for a wrong Content-Length, while an error response can still be sent."""
        length = head.content_length
        if length is None or length == size or head.bodiless or self._request.method == "HEAD":
            return
        if size > length or not more:
            raise ResponseError(f"Content-Length is {length}, and the body has {size} bytes")

    def _end(self) -> None:
        self.ended = True
        self.wake()

    # Called by the connection -----------------------------------------------------------------------

    def put_chunk(self, data: bytes) -> None:
        """Hand over a piece of the body."""
        self._chunk = data
        self.wake()

    def put_body_end(self) -> None:
        """Hand over the end of the body."""
        self._body_ended = True
        self.wake()

    def disconnect(self) -> None:
        """Note that the client disconnected, or got an error response."""
        if not self.ended:
            self.disconnected = True
        self.wake()

    def wake(self) -> None:
        """Wake the calls of receive() that wait."""
        receivers = self._receivers
        if receivers:
            self._receivers = None
            for receiver in receivers:
                if not receiver.done():
                    receiver.set_result(None)


def _make_head(start: Message, length: int | None) -> ResponseHead:
    """Return the head of a response, with *length* for a missing Content-Length."""
    status, headers = start["status"], start.get("headers") or ()
    if type(headers) is not list and type(headers) is not tuple:
        headers = start["headers"] = list(headers)
    key = (status, length, *headers)
    try:
        head = _HEADS.get(key)
    except TypeError:  # a pair is a list
        return _new_head(status, [(bytes(name), bytes(value)) for name, value in headers], length)
    if head is None:
        head = _new_head(status, list(headers), length)
        if len(_HEADS) >= _MAX_HEADS:
            _HEADS.clear()
        _HEADS[key] = head
    return head


def _new_head(status: int, headers: list[tuple[bytes, bytes]], length: int | None) -> ResponseHead:
    if status < 200:
        raise ValueError(f"the status {status} is not final; it must be 200 or more")
    head = ResponseHead(status, headers)
    if head.content_length is None and length is not None and not head.bodiless:
        head = ResponseHead(status, [*headers, (b"content-length", b"%d" % length)])
    return head
