"""WebSocketSession: one WebSocket of an ASGI application, on the connection of its handshake.

Frames are parsed and made by the sans-IO protocol of the library ``websockets``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import NamedTuple

from plugport.contracts import Transport
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidState, ProtocolError
from websockets.extensions.permessage_deflate import enable_server_permessage_deflate
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request as HandshakeRequest
from websockets.protocol import State
from websockets.server import ServerProtocol

from plugport_http.asgi.flowcontrol import ClientDisconnectedError, FlowControl
from plugport_http.asgi.interface import ASGIApplication, Message, Scope
from plugport_http.engine import Request, ResponseHead
from plugport_http.engine.response import date_line, error_head

__all__ = ["WebSocketOptions", "WebSocketSession"]

logger = logging.getLogger("plugport.http.asgi")
# plugport itself logs connections.
_protocol_logger = logging.getLogger("plugport.http.asgi.websockets")
_protocol_logger.setLevel(logging.WARNING)

#: Seconds that a client has to close the connection after the close handshake began.
_CLOSE_TIMEOUT = 5.0
#: Messages and bytes in the queue for the application before reading is paused.
_MAX_WAITING, _HIGH_WATER = 32, 65536
#: Bytes that a client may send before its WebSocket is accepted.
_MAX_EARLY = 65536
#: Bytes to parse before the queue is checked: compressed bytes can grow a thousandfold.
_SLICE = 4096


class WebSocketOptions(NamedTuple):
    """``max_size`` in bytes; ``compression`` by permessage-deflate; ``ping_interval`` in seconds."""

    max_size: int | None
    compression: bool
    ping_interval: float | None


class WebSocketSession:
    """Runs the application for one WebSocket: handshake, messages, close.

    The protocol of the connection forwards its events to the methods of the same names.
    """

    def __init__(
        self, transport: Transport, request: Request, options: WebSocketOptions, flow: FlowControl
    ) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._flow = flow
        self._ping_interval = options.ping_interval
        self._protocol = ServerProtocol(
            state=State.OPEN,  # the engine has parsed the handshake request: only frames follow
            extensions=enable_server_permessage_deflate(None) if options.compression else None,
            max_size=options.max_size,
            logger=_protocol_logger,
        )
        fields = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers)
        self._handshake = self._protocol.accept(HandshakeRequest(request.target.decode("latin-1"), fields))
        #: "connecting", "open", "denying" (sends a denial response), "closed" (by either side, or lost).
        self._phase = "connecting"
        self._early: list[bytes] = []
        self._early_size = 0
        self._parts: list[bytes] = []  # frames of an incomplete message
        self._is_text = False
        self._messages: deque[Message] = deque([{"type": "websocket.connect"}])
        self._waiting_size = 0
        self._full = False  # whether the queue of messages is over its limits
        self._unparsed = b""
        self._reading_paused = False
        self._receivers: deque[asyncio.Future[None]] = deque()
        self._disconnect_message: Message | None = None
        self._denial: ResponseHead | None = None
        self._denial_sent = False
        self._timer: asyncio.TimerHandle | None = None
        self._is_pong_missing = False  # nothing was received since the last ping

    async def run(self, application: ASGIApplication, scope: Scope) -> None:
        """Run the application, then close the WebSocket if it is open. Raises what the application raises."""
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

    # Called by the application ----------------------------------------------------------------------

    async def receive(self) -> Message:
        """Return the next message; websocket.disconnect after the last one, again and again."""
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

    async def send(self, message: Message) -> None:
        """Send a message to the client; wait while too much is unsent. Raises ClientDisconnectedError."""
        kind = message["type"]
        if self._phase == "open":
            if kind == "websocket.send":
                self._send_data(message)
            elif kind == "websocket.close":
                self._close(int(message.get("code") or 1000), str(message.get("reason") or ""))
            else:
                raise RuntimeError(f"{kind!r} is not allowed on an open WebSocket")
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
                raise RuntimeError(f"{kind!r} is not allowed before websocket.accept")
        elif self._phase == "denying":
            if kind != "websocket.http.response.body":
                raise RuntimeError(f"{kind!r} is not allowed in a denial response")
            self._send_denial(message)
        else:
            raise ClientDisconnectedError("the WebSocket is closed")
        if self._flow.paused:
            await self._flow.drain()

    def _accept(self, message: Message) -> None:
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
                raise RuntimeError("set the key 'subprotocol' of websocket.accept instead of the header")
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

    def _send_data(self, message: Message) -> None:
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
            self._protocol.send_close(code, _truncated(reason))
        except (ConnectionClosed, InvalidState):
            return  # the close handshake has begun
        except ProtocolError as error:
            raise RuntimeError(f"a WebSocket can't be closed with {code}, {reason!r}: {error}") from error
        self._phase = "closed"
        self._flush()
        self._put_disconnect(code, reason)
        self._await_close()

    def _send_denial(self, message: Message) -> None:
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
        """Close the WebSocket after the application has ended."""
        if self._phase == "connecting":
            if not failed:
                logger.error("the application returned without accepting or closing the WebSocket")
            self._refuse(500, [], "")
        elif self._phase == "denying":
            self._transport.abort()  # an incomplete response must not look complete
        elif self._phase == "open":
            self._close(1011 if failed else 1000, "")
        self._phase = "closed"

    # Called by the connection -----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        if self._phase == "connecting":
            self._early.append(data)
            self._early_size += len(data)
            if self._early_size > _MAX_EARLY:
                self._transport.abort()
        elif self._phase != "denying":
            self._is_pong_missing = False
            self._unparsed += data
            self._take_frames()

    def eof_received(self) -> None:
        """Close the connection: a WebSocket can't be half-closed."""
        self._transport.close()

    def writing_changed(self) -> None:
        """Pause reading while the client does not take the data that was written, or resume it."""
        if self._flow.paused:
            self._update_reading()
        else:
            self._take_frames()

    def connection_lost(self) -> None:
        """Let the application see a disconnect."""
        self._phase = "closed"
        self._cancel_timer()
        closed = self._protocol.close_rcvd
        self._put_disconnect(closed.code if closed else 1006, closed.reason if closed else "")
        self._flow.resume()

    def drain(self) -> None:
        """Close the WebSocket because the server is about to stop."""
        if self._phase == "open":
            self._close(CloseCode.GOING_AWAY, "the server is going away")

    def _take_frames(self) -> None:
        """Parse received bytes until the queue of messages or the write buffer is full."""
        data, self._unparsed = self._unparsed, b""
        start = 0
        while start < len(data) and not self._must_wait():
            self._protocol.receive_data(data[start : start + _SLICE])
            start += _SLICE
            for frame in self._protocol.events_received():
                assert isinstance(frame, Frame)  # the handshake is over
                self._take_frame(frame)
            self._flush()
            self._check_closing()
            if self._phase == "closed":
                break
        self._unparsed = data[start:]
        self._update_reading()
        if self._unparsed and self._phase == "closed" and not self._transport.is_closing():
            self._loop.call_soon(self._take_frames)

    def _must_wait(self) -> bool:
        return self._phase == "open" and (self._full or self._flow.paused)

    def _update_reading(self) -> None:
        paused = self._must_wait() or (self._phase == "closed" and bool(self._unparsed))
        if paused is not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = paused
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _take_frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.CLOSE:
            self._parts.clear()
            return
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._is_text = opcode is Opcode.TEXT
        elif opcode is not Opcode.CONT:
            return  # the protocol has answered a ping
        if self._phase == "closed":
            return
        if not frame.fin:
            if frame.data:
                self._parts.append(bytes(frame.data))
            return
        data = b"".join([*self._parts, frame.data]) if self._parts else bytes(frame.data)
        self._parts.clear()
        message: Message
        if self._is_text:
            try:
                message = {"type": "websocket.receive", "text": data.decode()}
            except UnicodeDecodeError:
                self._protocol.fail(CloseCode.INVALID_DATA, "the text is not UTF-8")
                return
        else:
            message = {"type": "websocket.receive", "bytes": data}
        self._messages.append(message)
        self._waiting_size += len(message.get("bytes") or message.get("text") or b"")
        if self._waiting_size > _HIGH_WATER or len(self._messages) > _MAX_WAITING:
            self._full = True
        self._wake()

    def _check_closing(self) -> None:
        """Let the application see a disconnect if the client has closed or violated the protocol."""
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
        if not pieces[-1]:  # both sides have closed, or one has violated the protocol
            self._cancel_timer()
            self._transport.close()

    def _await_close(self) -> None:
        self._cancel_timer()
        self._take_frames()  # the client's close frame may be in the buffer
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
        if not self._flow.paused:  # more unsent bytes would look like progress to the send timeout
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


def _truncated(reason: str) -> str:
    """Return the part of *reason* that fits into a close frame: 123 bytes. (RFC 6455, 5.5)"""
    return reason.encode()[:123].decode(errors="ignore")
