"""WebSocketSession: one WebSocket of an ASGI application, on the connection that asked for it.

The frames are the business of ``websockets`` and its protocol that does no I/O.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidState, ProtocolError
from websockets.extensions.permessage_deflate import enable_server_permessage_deflate
from websockets.frames import CloseCode, Opcode
from websockets.http11 import Request as HandshakeRequest
from websockets.protocol import State
from websockets.server import ServerProtocol

from plugport_http.asgi.flowcontrol import ClientDisconnectedError, FlowControl
from plugport_http.engine import Request, ResponseHead
from plugport_http.engine.response import date_line, error_head

__all__ = ["WebSocketOptions", "WebSocketSession"]

logger = logging.getLogger("plugport.http.asgi")
# What it would tell of each connection is told by plugport.
_protocol_logger = logging.getLogger("plugport.http.asgi.websockets")
_protocol_logger.setLevel(logging.WARNING)

#: Seconds that a client has to end the connection once it was told to.
_CLOSE_TIMEOUT = 5.0
#: Messages and bytes that may wait for the application before the client must.
_MAX_WAITING, _HIGH_WATER = 32, 65536
#: Bytes that a client may send before it was accepted.
_MAX_EARLY = 65536
#: Bytes that are looked at before it is seen whether the application must catch up: compressed ones
#: become a thousand times as many.
_SLICE = 4096


class WebSocketOptions(NamedTuple):
    """``max_size``: bytes of a message; ``compression``: offer permessage-deflate; ``ping_interval``: s."""

    max_size: int | None
    compression: bool
    ping_interval: float | None


class WebSocketSession:
    """Runs an application for one WebSocket: its handshake, its messages, its end.

    What its connection's protocol is told goes to the methods of the same names.
    """

    def __init__(
        self, transport: Any, request: Request, options: WebSocketOptions, gate: FlowControl
    ) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._gate = gate
        self._ping_interval = options.ping_interval
        self._protocol = ServerProtocol(
            state=State.OPEN,  # the request was read already: what it parses are frames
            extensions=enable_server_permessage_deflate(None) if options.compression else None,
            max_size=options.max_size,
            logger=_protocol_logger,
        )
        fields = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers)
        self._handshake = self._protocol.accept(HandshakeRequest(request.target.decode("latin-1"), fields))
        #: "connecting", "open", "denying" (a response is on its way), "closed" (by either side, or lost).
        self._phase = "connecting"
        self._early: list[bytes] = []
        self._early_size = 0
        self._parts: list[bytes] = []  # of the message that comes
        self._is_text = False
        self._messages: deque[dict[str, Any]] = deque([{"type": "websocket.connect"}])
        self._waiting_size = 0
        self._full = False  # so much waits that the client must
        self._unread = b""  # what came, and must wait
        self._reading_paused = False
        self._receivers: deque[asyncio.Future[None]] = deque()
        self._disconnect_message: dict[str, Any] | None = None  # the message that tells of the end
        self._denial: ResponseHead | None = None
        self._denial_sent = False
        self._timer: asyncio.TimerHandle | None = None
        self._is_pong_missing = False  # nothing has come since the last ping

    async def run(self, application: Callable[..., Any], scope: dict[str, Any]) -> None:
        """Run the application; whatever it leaves open is closed. Raises what it raises."""
        if self._handshake.status_code != 101:
            extra = [
                (name.lower().encode(), value.encode()) for name, value in self._handshake.headers.raw_items()
            ]
            kept = [field for field in extra if field[0] in (b"upgrade", b"allow", b"sec-websocket-version")]
            self._refuse(self._handshake.status_code, kept, "the WebSocket handshake is malformed")
            return
        try:
            await application(scope, self.receive, self.send)
        except ClientDisconnectedError:
            pass
        except BaseException:
            self._end(failed=True)
            raise
        self._end(failed=False)

    # For the application ----------------------------------------------------------------------------

    async def receive(self) -> dict[str, Any]:
        """Return the next message; when there is no more to come, always that of the end."""
        while not self._messages:
            if self._disconnect_message is not None:
                return self._disconnect_message
            receiver: asyncio.Future[None] = self._loop.create_future()
            self._receivers.append(receiver)
            await receiver
        message = self._messages.popleft()
        if message["type"] == "websocket.receive":
            self._waiting_size -= len(message.get("bytes") or message.get("text") or b"")
            waiting = len(self._messages) > _MAX_WAITING // 2 or self._waiting_size > _HIGH_WATER // 2
            if self._full and not waiting:
                self._full = False
                self._take_frames()
        return message

    async def send(self, message: dict[str, Any]) -> None:
        """Send what the application has for the client; wait while too much is unsent."""
        kind = message["type"]
        if self._phase == "open":
            if kind == "websocket.send":
                self._send_data(message)
            elif kind == "websocket.close":
                self._close(int(message.get("code") or 1000), str(message.get("reason") or ""))
            else:
                raise RuntimeError(f"a WebSocket that is open has no message {kind!r}")
        elif self._phase == "connecting":
            if kind == "websocket.accept":
                self._accept(message)
            elif kind == "websocket.close":
                self._refuse(403, [], "the WebSocket was not accepted")
                self._put_disconnect(1006, "")
            elif kind == "websocket.http.response.start":
                self._denial = ResponseHead(message["status"], [*message.get("headers", ())])
                self._phase = "denying"
            else:
                raise RuntimeError(f"a WebSocket that was not accepted has no message {kind!r}")
        elif self._phase == "denying":
            if kind != "websocket.http.response.body":
                raise RuntimeError(f"a WebSocket that is denied has no message {kind!r}")
            self._send_denial(message)
        else:
            raise ClientDisconnectedError("the WebSocket is closed")
        if self._gate.paused:
            await self._gate.wait()

    def _accept(self, message: dict[str, Any]) -> None:
        answer = self._handshake.headers
        fields = [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
        for name in ("Sec-WebSocket-Accept", "Sec-WebSocket-Extensions"):
            if name in answer:
                fields.append((name.lower().encode(), answer[name].encode()))
        subprotocol = message.get("subprotocol")
        if subprotocol is not None:
            fields.append((b"sec-websocket-protocol", str(subprotocol).encode()))
        for name, value in message.get("headers") or ():
            if bytes(name).lower() == b"sec-websocket-protocol":
                raise RuntimeError("the subprotocol goes into the key 'subprotocol' of websocket.accept")
            fields.append((bytes(name), bytes(value)))
        head = ResponseHead(101, fields)
        date = b"" if head.has_date else date_line()
        self._transport.write(b"%bconnection: Upgrade\r\n%b\r\n" % (head.block, date))
        self._phase = "open"
        if self._ping_interval is not None:
            self._timer = self._loop.call_later(self._ping_interval, self._ping)
        early, self._early = self._early, []
        for data in early:
            self.data_received(data)

    def _send_data(self, message: dict[str, Any]) -> None:
        text = message.get("text")
        try:
            if text is not None:
                self._protocol.send_text(text.encode())
            else:
                self._protocol.send_binary(message["bytes"])
        except (ConnectionClosed, InvalidState) as error:
            raise ClientDisconnectedError("the WebSocket is closing") from error
        self._flush()

    def _close(self, code: int, reason: str) -> None:
        try:
            self._protocol.send_close(code, _cut(reason))
        except (ConnectionClosed, InvalidState):
            return  # it is closing already
        except ProtocolError as error:
            raise RuntimeError(f"a WebSocket can't be closed with {code}, {reason!r}: {error}") from error
        self._phase = "closed"
        self._flush()
        self._put_disconnect(code, reason)
        self._await_close()

    def _send_denial(self, message: dict[str, Any]) -> None:
        assert self._denial is not None
        body = bytes(message.get("body", b""))
        if not self._denial_sent:
            self._denial_sent = True
            date = b"" if self._denial.has_date else date_line()
            self._transport.write(b"%b%bconnection: close\r\n\r\n" % (self._denial.block, date))
        if body:
            self._transport.write(body)
        if not message.get("more_body", False):
            self._phase = "closed"
            self._put_disconnect(1006, "")
            self._transport.close()

    def _refuse(self, status: int, fields: list[tuple[bytes, bytes]], detail: str) -> None:
        head, body = error_head(status, fields, detail=detail)
        self._transport.write(b"%b%bconnection: close\r\n\r\n%b" % (head.block, date_line(), body))
        self._phase = "closed"
        self._transport.close()

    def _end(self, *, failed: bool) -> None:
        """Close what the application left open when it ended."""
        if self._phase == "connecting":
            if not failed:
                logger.error("the application returned without an answer to the WebSocket")
            self._refuse(500, [], "")
        elif self._phase == "denying":
            self._transport.abort()  # a response that is not whole must not look so
        elif self._phase == "open":
            self._close(1011 if failed else 1000, "")
        self._phase = "closed"

    # For the connection -----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._phase == "connecting":
            self._early.append(data)
            self._early_size += len(data)
            if self._early_size > _MAX_EARLY:
                self._transport.abort()
        elif self._phase != "denying":
            self._is_pong_missing = False
            self._unread += data
            self._take_frames()

    def eof_received(self) -> None:
        """Take the end of what the client sends: of the WebSocket, too."""
        self._transport.close()

    def writing_changed(self) -> None:
        """See whether the client takes what was written: nothing is read of one that does not."""
        if self._gate.paused:
            self._update_reading()
        else:
            self._take_frames()

    def connection_lost(self) -> None:
        """Tell the application that the client is gone."""
        self._phase = "closed"
        self._cancel_timer()
        closed = self._protocol.close_rcvd
        self._put_disconnect(closed.code if closed else 1006, closed.reason if closed else "")
        self._gate.open()

    def drain(self) -> None:
        """The server is about to stop: say so to the client, and to the application."""
        if self._phase == "open":
            self._close(CloseCode.GOING_AWAY, "the server is going away")

    def _take_frames(self) -> None:
        """Look at what has come, as far as the application and the client take what comes of it."""
        data, self._unread = self._unread, b""
        start = 0
        while start < len(data) and not self._must_wait():
            self._protocol.receive_data(data[start : start + _SLICE])
            start += _SLICE
            for frame in self._protocol.events_received():
                self._take_frame(frame)
            self._flush()
            self._check_closing()
            if self._phase == "closed":
                break
        self._unread = data[start:]
        self._update_reading()
        if self._unread and self._phase == "closed" and not self._transport.is_closing():
            self._loop.call_soon(self._take_frames)

    def _must_wait(self) -> bool:
        return self._phase == "open" and (self._full or self._gate.paused)

    def _update_reading(self) -> None:
        paused = self._must_wait() or (self._phase == "closed" and bool(self._unread))
        if paused is not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = paused
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _take_frame(self, frame: Any) -> None:
        opcode = frame.opcode
        if opcode is Opcode.CLOSE:
            self._parts.clear()
            return
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._is_text = opcode is Opcode.TEXT
        elif opcode is not Opcode.CONT:
            return  # pings were answered
        if self._phase == "closed":
            return
        if not frame.fin:
            if frame.data:
                self._parts.append(bytes(frame.data))
            return
        data = b"".join([*self._parts, frame.data]) if self._parts else bytes(frame.data)
        self._parts.clear()
        message: dict[str, Any]
        if self._is_text:
            try:
                message = {"type": "websocket.receive", "text": data.decode()}
            except UnicodeDecodeError:
                self._protocol.fail(CloseCode.INVALID_DATA, "the text is no UTF-8")
                return
        else:
            message = {"type": "websocket.receive", "bytes": data}
        self._messages.append(message)
        self._waiting_size += len(message.get("bytes") or message.get("text") or b"")
        if self._waiting_size > _HIGH_WATER or len(self._messages) > _MAX_WAITING:
            self._full = True
        self._wake()

    def _check_closing(self) -> None:
        """Tell the application when the client has closed, or has broken the protocol."""
        if self._protocol.state is State.OPEN or self._disconnect_message is not None:
            return
        self._phase = "closed"
        closed = self._protocol.close_rcvd or self._protocol.close_sent
        self._put_disconnect(closed.code if closed else 1006, closed.reason if closed else "")
        self._await_close()

    def _flush(self) -> None:
        pieces = self._protocol.data_to_send()
        if not pieces:
            return
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if data:
            self._transport.write(data)
        if not pieces[-1]:  # both sides have closed, or one has broken the protocol
            self._cancel_timer()
            self._transport.close()

    def _await_close(self) -> None:
        self._cancel_timer()
        self._take_frames()  # the client's close may be among them
        if not self._transport.is_closing():
            self._timer = self._loop.call_later(_CLOSE_TIMEOUT, self._transport.abort)

    def _ping(self) -> None:
        assert self._ping_interval is not None
        if self._is_pong_missing:
            self._protocol.fail(CloseCode.INTERNAL_ERROR, "no answer to a ping")
            self._flush()
            self._check_closing()
            self._transport.abort()
            return
        self._is_pong_missing = not self._reading_paused
        if not self._gate.paused:  # it would look as if the client had taken something
            self._protocol.send_ping(b"")
            self._flush()
        self._timer = self._loop.call_later(self._ping_interval, self._ping)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _put_disconnect(self, code: int, reason: str) -> None:
        if self._disconnect_message is None:
            self._disconnect_message = {"type": "websocket.disconnect", "code": code, "reason": reason}
            for receiver in self._receivers:
                if not receiver.done():
                    receiver.set_result(None)
            self._receivers.clear()

    def _wake(self) -> None:
        while self._receivers:
            receiver = self._receivers.popleft()
            if not receiver.done():
                receiver.set_result(None)
                return


def _cut(reason: str) -> str:
    """Return as much of *reason* as fits a close frame: 123 bytes."""
    return reason.encode()[:123].decode(errors="ignore")
