"""Exchange: one call of an ASGI application for one HTTP request, and the response that comes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from plugport_http.asgi.flowcontrol import ClientDisconnectedError
from plugport_http.engine import HTTPError, Request, ResponseError, ResponseHead

__all__ = ["Exchange"]

logger = logging.getLogger("plugport.http.asgi")

#: Heads that were sent before, by what the application gave: most applications have few.
_HEADS: dict[tuple[Any, ...], ResponseHead] = {}
_MAX_HEADS = 256
#: Bytes that an application may send, to a client that takes them all, before others have their turn.
_MAX_BURST = 262144


class Exchange:
    """Has receive() and send() for the application. *connection*: the ASGIProtocol that the request is of."""

    __slots__ = (
        "_body_ended",
        "_burst",
        "_connection",
        "_is_body_delivered",
        "_piece",
        "_receivers",
        "_request",
        "_start",
        "_started",
        "ended",
        "gone",
        "task",
    )

    def __init__(self, connection: Any, request: Request) -> None:
        self._connection = connection
        self._request = request
        #: The message http.response.start, until it is sent with the first piece of the body.
        self._start: dict[str, Any] | None = None
        self._started = False
        #: Whether the response is complete.
        self.ended = False
        #: Whether nobody takes the response any more.
        self.gone = False
        self._piece: bytes | None = None  # of the body, that the application has not taken
        self._body_ended = self._is_body_delivered = False
        self._receivers: list[asyncio.Future[None]] | None = None
        self._burst = 0
        self.task: asyncio.Task[None] | None = None

    async def run(self, application: Callable[..., Any], scope: dict[str, Any]) -> None:
        """Call the application; see to it that the client gets a response, or sees that there is none."""
        try:
            await application(scope, self.receive, self.send)
            if not (self.ended or self.gone):
                self._fail("%s %s: the application returned before its response was complete", None)
        except Exception as error:
            if not (self.gone and isinstance(error, ClientDisconnectedError)):
                self._fail("%s %s failed", error)
        finally:
            if not (self.ended or self.gone):  # it was cancelled
                self.gone = True
                self._connection.cut()
            self.task = None  # which has this frame
            self._connection.exchange_ended(self)

    def _fail(self, what: str, error: Exception | None) -> None:
        request = self._request
        logger.error(what, request.method, request.path.decode("latin-1"), exc_info=error)
        if self.ended or self.gone:
            return
        self.gone = True
        if self._connection.http.response_started:
            self._connection.cut()
        else:
            self._connection.send_error(HTTPError(500, ""))

    # For the application ----------------------------------------------------------------------------

    async def receive(self) -> dict[str, Any]:
        """Return the next piece of the body; after its end, and when there is one, the client's end."""
        if not (self._is_body_delivered or self.ended):
            if not self._request.has_body:
                self._is_body_delivered = True
                return {"type": "http.request", "body": b"", "more_body": False}
            while not (self.gone or self.ended):
                if self._piece is None and not self._body_ended:
                    self._connection.request_chunk()
                piece, self._piece = self._piece, None
                if piece is not None or self._body_ended:
                    more = not self._body_ended and self._connection.http.is_reading_body
                    self._is_body_delivered = not more
                    return {"type": "http.request", "body": piece or b"", "more_body": more}
                if not self.gone:
                    await self._wait()
        while not (self.gone or self.ended or self._connection.half_closed):
            await self._wait()
        return {"type": "http.disconnect"}

    async def _wait(self) -> None:
        receiver: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._receivers is None:
            self._receivers = []
        self._receivers.append(receiver)
        await receiver

    async def send(self, message: dict[str, Any]) -> None:
        """Send what the application has for the client; wait while too much is unsent."""
        if self.gone:
            raise ClientDisconnectedError("the client is gone")
        if self.ended:
            return  # ignored, as the specification wants it
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
                raise RuntimeError("http.response.body comes after http.response.start")
            elif more:
                head = _make_head(self._start, None)
                self._check_length(head, len(body), more)
                self._started = True
                connection.start_response(head, body)
            else:
                # Of HEAD it is not known how long the body would have been, if there is none.
                unknown = not body and self._request.method == "HEAD"
                head = _make_head(self._start, None if unknown else len(body))
                self._check_length(head, len(body), more)
                self._started = True
                self._end()
                connection.send_response(head, body)
        elif kind == "http.response.start":
            if self._start is not None:
                raise RuntimeError("http.response.start comes once")
            self._start = message
        else:
            raise RuntimeError(f"a response has no message {kind!r}")
        if connection.gate.paused:
            await connection.gate.wait()
            if self.gone:
                raise ClientDisconnectedError("the client is gone")

    async def _prepare_chunk(self, size: int) -> None:
        """See, before a further piece is sent, that the client is there, and that others have their turn."""
        self._burst += size
        if self._burst > _MAX_BURST:
            self._burst = 0
            await asyncio.sleep(0)
        if self.gone or self._connection.transport.is_closing():
            self.gone = True
            raise ClientDisconnectedError("the client is gone")

    def _check_length(self, head: ResponseHead, size: int, more: bool) -> None:
        """Find out, while another response can be sent yet, that this one contradicts itself."""
        length = head.content_length
        if length is None or length == size or head.bodiless or self._request.method == "HEAD":
            return
        if size > length or not more:
            raise ResponseError(f"Content-Length is {length}, and the body has {size} bytes")

    def _end(self) -> None:
        self.ended = True
        self.wake()

    # For the connection -----------------------------------------------------------------------------

    def put_chunk(self, data: bytes) -> None:
        """Have a piece of the body for the application."""
        self._piece = data
        self.wake()

    def put_body_end(self) -> None:
        """The body is complete."""
        self._body_ended = True
        self.wake()

    def disconnect(self) -> None:
        """The client is gone, or was told that its request is bad."""
        if not self.ended:
            self.gone = True
        self.wake()

    def wake(self) -> None:
        """Have those who wait in receive() look again."""
        receivers = self._receivers
        if receivers:
            self._receivers = None
            for receiver in receivers:
                if not receiver.done():
                    receiver.set_result(None)


def _make_head(start: dict[str, Any], length: int | None) -> ResponseHead:
    """Return the head of a response, with a Content-Length of *length* if it has none."""
    status, headers = start["status"], start.get("headers") or ()
    if type(headers) is not list and type(headers) is not tuple:
        headers = start["headers"] = list(headers)
    key = (status, length, *headers)
    try:
        head = _HEADS.get(key)
    except TypeError:  # pairs that are lists
        return _new_head(status, [(bytes(name), bytes(value)) for name, value in headers], length)
    if head is None:
        head = _new_head(status, list(headers), length)
        if len(_HEADS) >= _MAX_HEADS:
            _HEADS.clear()
        _HEADS[key] = head
    return head


def _new_head(status: int, headers: list[tuple[bytes, bytes]], length: int | None) -> ResponseHead:
    if status < 200:
        raise ValueError(f"the status {status} ends no request")
    head = ResponseHead(status, headers)
    if head.content_length is None and length is not None and not head.bodiless:
        head = ResponseHead(status, [*headers, (b"content-length", b"%d" % length)])
    return head
