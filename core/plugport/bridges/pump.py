"""protocol -> blocking: a loop of its own for one connection, in the thread that has the request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from plugport.bridges.inline import made_protocol
from plugport.contracts.loops import Poller
from plugport.contracts.requests import RequestContext
from plugport.loop.poller import blocking_poller
from plugport.loop.timers import Timers
from plugport.transports import DatagramTransport, StreamTransport

__all__ = ["StreamPump", "pumped_datagrams"]


class Pump(Timers):
    """Drives one connection's protocol until it is lost; a Loop for its transport.

    *poller_class*: how it waits, where the strategy has a way of its own.
    """

    def __init__(self, poller_class: type[Poller] | None = None) -> None:
        super().__init__()
        self._poller = (poller_class or blocking_poller)()
        self.register, self.modify, self.unregister = (
            self._poller.register,
            self._poller.modify,
            self._poller.unregister,
        )
        self._soon: deque[Callable[[], None]] = deque()
        self.call_soon = self._soon.append
        self._lost = False
        self._error: Exception | None = None

    def transport_failed(self, transport: Any, error: Exception) -> None:
        """Keep the first error, to be raised at the end."""
        self._error = self._error or error

    def transport_lost(self, transport: Any) -> None:
        """End the loop."""
        self._lost = True

    def run(self, sock: Any, protocol: Any, context: RequestContext | None) -> None:
        """Run *protocol* on *sock* to its end. Raises what it raised, or what broke the connection."""
        sock_timeout = sock.gettimeout()
        sock.setblocking(False)
        transport = StreamTransport(self, sock, protocol, self, context)
        transport.start()
        soon = self._soon
        try:
            while not self._lost:
                ready = self._wait_timed(sock_timeout) if self._timers else self._wait(sock_timeout)
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
        """Wait, and call who is due. Return how many descriptors were ready."""
        return self._poller.dispatch(0.0 if self._soon else timeout)

    def _wait_timed(self, timeout: float | None) -> int:
        """Do the same, and call timers that are due meanwhile; return 0 when *timeout* is over."""
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            left = None if deadline is None else max(deadline - monotonic(), 0.0)
            ready = self._wait(self.run_timers(left))
            if ready or self._soon or left == 0.0:
                return ready


class StreamPump:
    """A blocking handler of connections, from what makes a protocol for each."""

    def __init__(self, make_protocol: Callable[[Any], Any]) -> None:
        self._make_protocol = make_protocol

    def __call__(self, request: Any, client_address: Any, server: Any) -> None:
        """Run the connection's protocol to its end."""
        context = server.active_requests.get(id(request)) or RequestContext(server, request, client_address)
        Pump(server.poller_class).run(request, self._make_protocol(context), context)


class DatagramPump:
    """A blocking handler of datagrams: one protocol for each server, called by one thread at a time."""

    def __init__(self, make_protocol: Callable[[Any], Any]) -> None:
        self._make_protocol = make_protocol
        self._protocols: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def __call__(self, request: Any, client_address: Any, server: Any) -> None:
        """Give the datagram to the server's protocol, which is made for the first one."""
        data, sock = request
        with server.lock:
            protocol = self._protocols.get(server)
            if protocol is None:
                protocol = self._protocols[server] = self._make_protocol(server)
                protocol.connection_made(DatagramTransport(None, sock, protocol, self))
            protocol.datagram_received(data, client_address)

    def transport_failed(self, transport: Any, error: Exception) -> None:
        """Do nothing: only connection_lost() can fail there, when nobody is served any more."""

    def transport_lost(self, transport: Any) -> None:
        """Do nothing: the socket is the server's."""


def pumped_datagrams(protocol_class: Callable[[], Any]) -> DatagramPump:
    """Return a blocking handler of datagrams, from a protocol class."""
    return DatagramPump(made_protocol(protocol_class))
