"""MemoryConnection: one connection to a handler, without sockets; MemoryTransport carries it."""

from __future__ import annotations

import errno
import socket
from typing import Any, Self, cast

from plugport.errors import IncompatibleError
from plugport.handlers import Framing, framing_maker, style_of
from plugport.transports import StreamTransport
from plugport_testing.memory.server import MemoryServer, adapted, configured
from plugport_testing.memory.wire import MemoryLoop, MemorySocket

__all__ = ["MemoryConnection", "MemoryTransport"]


class MemoryTransport(StreamTransport):
    """The transport of connections, over memory. (asyncio.Transport)

    All is as on a socket: what the client does not take is buffered, writing is paused above the
    high-water mark, close() sends what is unsent first.
    """

    __slots__ = ()

    # What is fed at once comes at once.
    small_reads_limit = -1

    def clock(self) -> float:
        """Return the time, which advance() puts forward."""
        now: float = self._loop.now
        return now

    @property
    def written(self) -> bytes:
        """All that was written: what the client has taken, and what is unsent."""
        return bytes(self._sock.taken) + b"".join(map(bytes, self._buffer or ()))


class MemoryConnection:
    """A handler's connection, whose client is the test: as under the select strategy, without a socket.

    *handler*: a protocol class or object, a message handler, or a blocking handler. *options*: its
    member variables, ``framing="netstring"`` for instance; of a function of a message those of
    MessageHandler. *server*: what it sees as its server. *room*: how many bytes the client takes
    before it is asked to take() more; None: all.

    ``transport``   the MemoryTransport; ``protocol``: what it drives
    ``context``     the RequestContext, with the outcome once it has ended
    ``server``      the MemoryServer

    What the handler raises ends the connection, and is raised by the call that made it fail. Raises
    IncompatibleError for a handler of datagrams alone, or one that needs an event loop; OptionError.
    """

    def __init__(
        self,
        handler: Any,
        *,
        server: MemoryServer | None = None,
        client_address: Any = ("127.0.0.1", 49152),
        room: int | None = None,
        **options: Any,
    ) -> None:
        self._handler = handler = configured(handler, options)
        make_protocol = adapted(handler, stream=True)
        self.server = server or MemoryServer()
        self._sock = MemorySocket(socket.SOCK_STREAM, client_address, room)
        #: The same, as the server knows it.
        self._request = cast(socket.socket, self._sock)
        self._loop = MemoryLoop(self._sock)
        self._returned = 0
        self._last_protocol: Any = None
        self._framing: Framing | None = None
        context = self.server.begin_request(self._request, client_address)
        assert context is not None, "it turns nobody away"
        self.context = context
        protocol = make_protocol(context)
        self.transport = MemoryTransport(self._loop, self._request, protocol, self, context)
        context.transport = self.transport
        self.transport.start()
        self._run()

    # What the client does -------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """Send *data*; return what comes back that no call has returned before.

        It is one piece for the handler, unless it is longer than 64 KiB. A connection that the
        handler has closed takes it, as the system does, to no effect. Raises ValueError after eof().
        """
        if self._sock.ended and not self.transport.is_closing():
            raise ValueError("feed() after eof()")
        self._sock.incoming += data
        return self._go_on()

    def ask(self, message: bytes) -> bytes | None:
        """Send a message in its frame; return the reply without, None if none comes.

        For handlers of messages. Raises IncompatibleError for others, FramingError if the framing
        can't carry it.
        """
        if self._framing is None:
            if style_of(self._handler) != "message":
                raise IncompatibleError("ask() is for handlers of messages; feed() sends bytes to any")
            self._framing = framing_maker(self._handler)()
        replies = self._framing.feed(self.feed(self._framing.frame(message)))
        return replies[0] if replies else None

    def eof(self) -> bytes:
        """Say that there is no more to come; return what comes back."""
        self._sock.ended = True
        return self._go_on()

    def take(self, size: int | None = None) -> bytes:
        """Take *size* bytes more, or all, now and from now on; return what comes."""
        self._sock.room = size
        return self._go_on()

    def reset(self) -> None:
        """Break the connection, as a client that crashes does."""
        self._sock.broken = errno.ECONNRESET
        self._loop.run()
        # That it broke is no failure of the handler's.
        self.server.errors = [one for one in self.server.errors if not isinstance(one, ConnectionError)]
        self.server.raise_error()

    def advance(self, seconds: float) -> bytes:
        """Let so much time pass for timeouts of the handler; return what comes back. It takes no time."""
        self._loop.advance(seconds)
        return self._go_on()

    def close(self) -> None:
        """Go away: the handler sees the end of the input, and then that the connection is gone."""
        if not self.closed:
            self._sock.ended = True
            self._loop.run()
            self.transport.abort()
            self._run()

    # What the client sees -------------------------------------------------------------------------

    @property
    def received(self) -> bytes:
        """All that has come back."""
        return bytes(self._sock.taken)

    @property
    def ended(self) -> bool:
        """Whether the handler's side has ended: nothing more comes back."""
        return self._sock.shut

    @property
    def closed(self) -> bool:
        """Whether the connection is closed: the handler neither reads nor writes any more."""
        return self._sock.closed

    @property
    def protocol(self) -> Any:
        """The protocol that the transport drives now, or did at last."""
        return self.transport.get_protocol() or self._last_protocol

    def _go_on(self) -> bytes:
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

    # What the transport calls ---------------------------------------------------------------------

    def transport_failed(self, transport: Any, error: Exception) -> None:
        """Take note of what the protocol raised, or what broke the connection."""
        self.server.handle_failure(self._request, self.context.client_address, error)

    def transport_lost(self, transport: Any) -> None:
        """End the request."""
        self._last_protocol = transport.get_protocol()
        self.server.conclude_request(self._request)
