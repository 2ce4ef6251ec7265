"""message -> protocol: a protocol that cuts the stream into messages and sends the replies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from plugport.contracts.requests import RequestContext
from plugport.handlers.framing import Framing
from plugport.handlers.messages import Respond, framing_maker, responder
from plugport.transports import send_datagram

__all__ = ["answered_datagrams", "framed_protocol", "message_datagram_protocol"]

#: Bytes of replies that are sent together.
_BATCH = 65536


class FramedProtocol:
    """Answers the messages of one connection; takes no more while its replies wait to be sent."""

    _transport: Any

    def __init__(self, respond: Respond, framing: Framing) -> None:
        self._respond = respond
        self._framing = framing
        self._messages: deque[bytes] = deque()
        self._paused = False
        self._ended = False  # the client has ended its side, and messages of it still wait

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer the messages that are complete."""
        messages = self._framing.feed(data)
        if len(messages) == 1 and not (self._messages or self._paused):
            # One, and then they wait for the reply: what most clients do.
            reply = self._reply(messages[0])
            if reply is not None:
                self._transport.write(reply)
        elif messages:
            self._messages.extend(messages)
            self._answer()

    def _reply(self, message: bytes) -> bytes | None:
        """Have *message* answered, and return the reply in its frame, if there is one."""
        reply = self._respond(message)
        if reply is None:
            return None
        if not isinstance(reply, bytes):
            raise TypeError(f"respond returned {type(reply).__name__}, not bytes or None")
        return self._framing.frame(reply)

    def _answer(self) -> None:
        """Answer what has come, until the client is behind with taking its replies."""
        messages = self._messages
        while messages and not self._paused:
            replies = []
            size = 0
            try:
                while messages and size < _BATCH:
                    reply = self._reply(messages.popleft())
                    if reply is not None:
                        replies.append(reply)
                        size += len(reply)
            finally:
                # Those before one that failed are owed to the client.
                if replies:
                    self._transport.write(replies[0] if len(replies) == 1 else b"".join(replies))

    def eof_received(self) -> bool:
        """Answer what is left; let the transport close, unless the client must take replies first."""
        self._messages.extend(self._framing.finish())
        self._answer()
        self._ended = bool(self._messages)
        return self._ended

    def pause_writing(self) -> None:
        """Read no more: the client does not take its replies."""
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        self._answer()
        if self._ended and not self._messages:
            self._transport.close()
        elif not self._paused:
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Do nothing."""


class MessageDatagramProtocol:
    """Answers datagrams, each a message."""

    _transport: Any

    def __init__(self, make_respond: Callable[[Any, Any], Respond], server: Any) -> None:
        self._make_respond = make_respond
        self._server = server

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer one."""
        reply = self._make_respond(addr, self._server)(data)
        if reply is not None and addr:  # an unnamed unix socket can't be answered
            self._transport.sendto(reply, addr)

    def error_received(self, error: Exception) -> None:
        """Do nothing: the client is not there to be answered."""

    def connection_lost(self, error: Exception | None) -> None:
        """Do nothing."""


def framed_protocol(handler: Any) -> Callable[[RequestContext], Any]:
    """Return what makes the protocol of a connection, from a message handler."""
    make_respond, make_framing = responder(handler), framing_maker(handler)

    def make(context: RequestContext) -> FramedProtocol:
        return FramedProtocol(make_respond(context.client_address, context.server), make_framing())

    return make


def message_datagram_protocol(handler: Any) -> Callable[[Any], Any]:
    """Return what makes the protocol of a datagram server, from a message handler."""
    make_respond = responder(handler)
    return lambda server: MessageDatagramProtocol(make_respond, server)


def answered_datagrams(handler: Any) -> Callable[[Any, Any, Any], None]:
    """Return a blocking handler of datagrams, from a message handler."""
    make_respond = responder(handler)

    def handle(request: Any, client_address: Any, server: Any) -> None:
        data, sock = request
        reply = make_respond(client_address, server)(data)
        if reply is not None and client_address:
            send_datagram(sock, reply, client_address)

    return handle
