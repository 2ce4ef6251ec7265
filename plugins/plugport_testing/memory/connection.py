"""MemoryConnection: one connection to a handler, without sockets; MemoryTransport carries it."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, Self

from plugport import RequestContext
from plugport.contracts import Buffer, ClientAddress, Transport
from plugport.errors import IncompatibleError
from plugport.handlers import Framing, framing_maker, style_of
from plugport.transports import StreamTransport
from plugport_testing.memory.server import MemoryHandler, MemoryServer, adapted, configured
from plugport_testing.memory.wire import MemoryLoop, MemorySocket

if TYPE_CHECKING:
    import asyncio

__all__ = ["MemoryConnection", "MemoryTransport"]


class MemoryTransport(StreamTransport):
    """The transport of a connection in memory. (asyncio.Transport)

    It does what a transport over a socket does: it buffers what the client does not take, pauses writing
    above the high-water mark, and sends unsent data before it closes.
    """

    __slots__ = ("_memory_loop", "_written")

    def __init__(
        self,
        loop: MemoryLoop,
        sock: MemorySocket,
        protocol: asyncio.BaseProtocol,
        owner: MemoryConnection,
        context: RequestContext,
    ) -> None:
        super().__init__(loop, sock.as_socket(), protocol, owner, context)
        self._memory_loop = loop
        self._written = bytearray()

    def clock(self) -> float:
        """Return the time in seconds; advance() changes it."""
        return self._memory_loop.now

    def write(self, data: Buffer) -> None:
        """Send *data*, and record it."""
        start = len(self._written)
        if not self.is_closing():
            self._written += data
        try:
            super().write(data)
        except BaseException:
            del self._written[start:]
            raise

    @property
    def written(self) -> bytes:
        """All data that was given to write() and writelines(), sent or unsent."""
        return bytes(self._written)


class MemoryConnection:
    """A connection of a handler, in memory. The test is its client.

    *handler*: a protocol class or object, a message handler, or a blocking handler. *options*: of the
    handler, as ``framing="netstring"``; a function of a message has those of MessageHandler. *server*: the
    handler's ``server``. *room*: how many bytes the client takes before take() is called; None: no limit.

    ``transport``   the MemoryTransport; ``protocol``: the protocol on it
    ``context``     the RequestContext, with the outcome once the request has ended
    ``server``      the MemoryServer

    An exception of the handler ends the connection, and is raised by the call that caused it. Raises
    IncompatibleError for a handler that serves only datagrams or needs an event loop; OptionError.
    """

    def __init__(
        self,
        handler: MemoryHandler,
        *,
        server: MemoryServer | None = None,
        client_address: ClientAddress = ("127.0.0.1", 49152),
        room: int | None = None,
        **options: object,
    ) -> None:
        self._handler = configured(handler, options)
        make_protocol = adapted(self._handler, stream=True)
        self.server = server or MemoryServer()
        self._sock = MemorySocket(socket.SOCK_STREAM, client_address, room)
        self._request = self._sock.as_socket()
        self._loop = MemoryLoop(self._sock)
        #: How many of the taken bytes feed() and its like have returned.
        self._returned = 0
        self._last_protocol: object = None
        self._framing: Framing | None = None
        context = self.server.begin_request(self._request, client_address)
        assert context is not None, "a MemoryServer rejects no request"
        self.context = context
        self.transport = MemoryTransport(self._loop, self._sock, make_protocol(context), self, context)
        context.transport = self.transport
        self.transport.start()
        self._run()

    # The client's actions -------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """Send *data*; return what has come back since the last call.

        The handler gets *data* in one piece if it is at most 64 KiB long. A connection that the handler has
        closed accepts it without effect, as the system does. Raises ValueError after eof().
        """
        if self._sock.ended and not self.transport.is_closing():
            raise ValueError("feed() after eof()")
        self._sock.incoming += data
        return self._new_bytes()

    def ask(self, message: bytes) -> bytes | None:
        """Send a message in its frame; return the reply without its frame, None if there is none.

        Raises IncompatibleError if the handler is no message handler, FramingError if the framing can't
        carry the message.
        """
        if self._framing is None:
            if style_of(self._handler) != "message":
                raise IncompatibleError("ask() needs a message handler; feed() sends bytes to any handler")
            self._framing = framing_maker(self._handler)()
        replies = self._framing.feed(self.feed(self._framing.frame(message)))
        return replies[0] if replies else None

    def eof(self) -> bytes:
        """End the client's side; return what comes back."""
        self._sock.ended = True
        return self._new_bytes()

    def take(self, size: int | None = None) -> bytes:
        """Let the client take *size* more bytes, or all from now on (None); return what comes back."""
        self._sock.room = size
        return self._new_bytes()

    def reset(self) -> None:
        """Break the connection, as a client that crashes does."""
        self._sock.broken = errno.ECONNRESET
        self._loop.run()
        # The reset itself is no failure of the handler.
        self.server.errors = [one for one in self.server.errors if not isinstance(one, ConnectionError)]
        self.server.raise_error()

    def advance(self, seconds: float) -> bytes:
        """Advance the handler's clock, and run its timers; return what comes back. Takes no real time."""
        self._loop.advance(seconds)
        return self._new_bytes()

    def close(self) -> None:
        """Disconnect: the handler gets the end of the input, then the loss of the connection."""
        if not self.closed:
            self._sock.ended = True
            self._loop.run()
            self.transport.abort()
            self._run()

    # The client's view ----------------------------------------------------------------------------

    @property
    def received(self) -> bytes:
        """All bytes that have come back."""
        return bytes(self._sock.taken)

    @property
    def ended(self) -> bool:
        """Whether the handler has ended its side: nothing more comes back."""
        return self._sock.shut

    @property
    def closed(self) -> bool:
        """Whether the connection is closed: the handler neither reads nor writes any more."""
        return self._sock.closed

    @property
    def protocol(self) -> Any:
        """The protocol on the transport; once the connection is closed, the last one."""
        return self.transport.get_protocol() or self._last_protocol

    def _new_bytes(self) -> bytes:
        self._run()
        start, self._returned = self._returned, len(self._sock.taken)
        return bytes(self._sock.taken[start:])

    def _run(self) -> None:
        self._loop.run()
        self.server.raise_error()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Calls of the transport -----------------------------------------------------------------------

    def transport_failed(self, transport: Transport, error: Exception) -> None:
        """Record an exception of the protocol, or the error that broke the connection."""
        self.server.handle_failure(self._request, self.context.client_address, error)

    def transport_lost(self, transport: Transport) -> None:
        """End the request."""
        self._last_protocol = transport.get_protocol()
        self.server.conclude_request(self._request)
