"""message -> protocol: a protocol that splits the stream into messages and sends the replies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from plugport.contracts.interfaces import ClientAddress, DatagramRequest, Handler, Transport
from plugport.contracts.requests import RequestContext, Server
from plugport.handlers.framing import Framing
from plugport.handlers.messages import Respond, framing_maker, responder
from plugport.transports import send_datagram

if TYPE_CHECKING:
    from plugport.transports import DatagramTransport

__all__ = ["answered_datagrams", "framed_protocol", "message_datagram_protocol"]

#: Bytes of replies that are sent together.
_BATCH = 65536


class FramedProtocol:
    """Answers the messages of one connection; stops reading while replies wait to be sent."""

    _transport: Transport

    def __init__(self, respond: Respond, framing: Framing) -> None:
        self._respond = respond
        self._framing = framing
        self._messages: deque[bytes] = deque()
        self._paused = False
        self._ended = False  # the client has ended its stream, and some of its messages still wait

    def connection_made(self, transport: Transport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer the messages that are complete."""
        messages = self._framing.feed(data)
        if len(messages) == 1 and not (self._messages or self._paused):
            # Most clients send one message and wait for its reply.
            reply = self._reply(messages[0])
            if reply is not None:
                self._transport.write(reply)
        elif messages:
            self._messages.extend(messages)
            self._answer()

    def _reply(self, message: bytes) -> bytes | None:
        """Return the framed reply to *message*, if there is one."""
        reply = self._respond(message)
        if reply is None:
            return None
        if not isinstance(reply, bytes):
            raise TypeError(f"respond returned {type(reply).__name__}, not bytes or None")
        return self._framing.frame(reply)

    def _answer(self) -> None:
        """Answer the queued messages, until the client does not read its replies fast enough."""
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
                # The replies before a message that failed are still sent.
                if replies:
                    self._transport.write(replies[0] if len(replies) == 1 else b"".join(replies))

    def eof_received(self) -> bool:
        """Answer the last messages; return whether the transport must stay open for replies that wait."""
        self._messages.extend(self._framing.finish())
        self._answer()
        self._ended = bool(self._messages)
        return self._ended

    def pause_writing(self) -> None:
        """Stop reading: the client does not read its replies fast enough."""
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Answer the queued messages, and read again."""
        self._paused = False
        self._answer()
        if self._ended and not self._messages:
            self._transport.close()
        elif not self._paused:
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Release nothing."""


class MessageDatagramProtocol:
    """Answers datagrams; each of them is a message."""

    _transport: DatagramTransport

    def __init__(self, make_respond: Callable[[ClientAddress, Server], Respond], server: Server) -> None:
        self._make_respond = make_respond
        self._server = server

    def connection_made(self, transport: DatagramTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: ClientAddress) -> None:
        """Answer a datagram."""
        reply = self._make_respond(addr, self._server)(data)
        if reply is not None and addr:  # an unnamed unix socket can't be answered
            self._transport.sendto(reply, addr)

    def error_received(self, error: Exception) -> None:
        """Ignore an error of sending: the client is gone."""

    def connection_lost(self, error: Exception | None) -> None:
        """Release nothing."""


def framed_protocol(handler: Handler) -> Callable[[RequestContext], FramedProtocol]:
    """Return a factory of the protocol of a connection, from a message handler."""
    make_respond, make_framing = responder(handler), framing_maker(handler)

    def make(context: RequestContext) -> FramedProtocol:
        return FramedProtocol(make_respond(context.client_address, context.server), make_framing())

    return make


def message_datagram_protocol(handler: Handler) -> Callable[[Server], MessageDatagramProtocol]:
    """Return a factory of the protocol of a datagram server, from a message handler."""
    make_respond = responder(handler)
    return lambda server: MessageDatagramProtocol(make_respond, server)


def answered_datagrams(handler: Handler) -> Callable[[DatagramRequest, ClientAddress, Server], None]:
    """Return a blocking handler of datagrams, from a message handler."""
    make_respond = responder(handler)

    def handle(request: DatagramRequest, client_address: ClientAddress, server: Server) -> None:
        data, sock = request
        reply = make_respond(client_address, server)(data)
        if reply is not None and client_address:
            send_datagram(sock, reply, client_address)

    return handle
