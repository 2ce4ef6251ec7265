"""protocol -> blocking: a loop that serves one connection, in the thread of its request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from plugport.bridges.inline import DatagramProtocolFactory, ProtocolFactory, protocol_factory
from plugport.contracts.interfaces import AnyProtocol, ClientAddress, DatagramRequest, Handler
from plugport.contracts.loops import Poller
from plugport.contracts.requests import RequestContext, Server
from plugport.loop.poller import blocking_poller
from plugport.loop.timers import Timers
from plugport.transports import DatagramTransport, StreamTransport

if TYPE_CHECKING:
    import socket

__all__ = ["ConnectionLoop", "DatagramPump", "StreamPump", "pumped_datagrams"]


class ConnectionLoop(Timers):
    """Runs one connection's protocol until the connection is lost. (a TransportLoop and a TransportOwner)

    *poller_class* is how the loop waits, if the strategy does not use the poller of the platform.
    """

    def __init__(self, poller_class: type[Poller] | None = None) -> None:
        super().__init__()
        self._poller = (poller_class or blocking_poller)()
        self.register, self.modify, self.unregister = (
            self._poller.register,
            self._poller.modify,
            self._poller.unregister,
        )
        self._soon: deque[Callable[[], object]] = deque()
        self.call_soon = self._soon.append
        self._lost = False
        self._error: Exception | None = None

    def transport_failed(self, transport: StreamTransport, error: Exception) -> None:
        """Keep the first error; run() raises it at the end."""
        self._error = self._error or error

    def transport_lost(self, transport: StreamTransport) -> None:
        """End the loop."""
        self._lost = True

    def run(self, sock: socket.socket, protocol: AnyProtocol, context: RequestContext) -> None:
        """Run *protocol* on *sock* to its end. Raises what it raised, or the error of the connection."""
        sock_timeout = sock.gettimeout()
        sock.setblocking(False)
        transport = StreamTransport(self, sock, protocol, self, context)
        transport.start()
        soon = self._soon
        try:
            while not self._lost:
                ready = self._wait_timed(sock_timeout) if self.has_timers else self._wait(sock_timeout)
                if not ready and not soon:
                    self._error = TimeoutError(f"nothing came or went for {sock_timeout} seconds")
                    transport.abort()
                while soon:
                    soon.popleft()()
        finally:
            self._poller.close()
        if self._error is not None:
            raise self._error

    def _wait(self, timeout: float | None) -> int:
        """Wait, and run the callbacks of ready descriptors. Return how many descriptors were ready."""
        return self._poller.dispatch(0.0 if self._soon else timeout)

    def _wait_timed(self, timeout: float | None) -> int:
        """Wait like _wait(), and run the timers that are due. Return 0 after *timeout* seconds."""
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            left = None if deadline is None else max(deadline - monotonic(), 0.0)
            ready = self._wait(self.run_timers(left))
            if ready or self._soon or left == 0.0:
                return ready


class StreamPump:
    """A blocking handler of connections, from a protocol factory."""

    def __init__(self, make_protocol: ProtocolFactory) -> None:
        self._make_protocol = make_protocol

    def __call__(self, request: socket.socket, client_address: ClientAddress, server: Server) -> None:
        """Run the connection's protocol to its end."""
        context = server.active_requests.get(id(request)) or RequestContext(server, request, client_address)
        ConnectionLoop(server.poller_class).run(request, self._make_protocol(context), context)


class DatagramPump:
    """A blocking handler of datagrams: each server has one protocol, which one thread at a time calls."""

    def __init__(self, make_protocol: DatagramProtocolFactory) -> None:
        self._make_protocol = make_protocol
        self._protocols: WeakKeyDictionary[Server, AnyProtocol] = WeakKeyDictionary()

    def __call__(self, request: DatagramRequest, client_address: ClientAddress, server: Server) -> None:
        """Pass the datagram to the server's protocol, which is made for the first datagram."""
        data, sock = request
        with server.lock:
            protocol: Any = self._protocols.get(server)
            if protocol is None:
                protocol = self._protocols[server] = self._make_protocol(server)
                protocol.connection_made(DatagramTransport(None, sock, protocol, self))
            protocol.datagram_received(data, client_address)

    def transport_failed(self, transport: DatagramTransport, error: Exception) -> None:
        """Ignore an exception of connection_lost(): there is no request that it belongs to."""

    def transport_lost(self, transport: DatagramTransport) -> None:
        """Leave the socket open: the server closes it."""


def pumped_datagrams(handler: Handler) -> DatagramPump:
    """Return a blocking handler of datagrams, from a protocol class."""
    return DatagramPump(protocol_factory(handler))
