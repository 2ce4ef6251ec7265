"""SelectMixIn: one thread, and a table of partially finished requests.

The table is ``active_requests``; each connection's transport knows its protocol and its unsent
bytes. The serving loop polls them together with the listening socket, and goes on with each that
is ready, for one read or write, before it looks again: so nobody starves.
"""

from __future__ import annotations

from typing import Any, ClassVar

from plugport.contracts import Loop
from plugport.serving import ServerLoop
from plugport.transports import StreamTransport
from plugport_builtins.concurrency.endpoint import EndpointMixIn
from plugport_builtins.concurrency.idle import IdleSweep

__all__ = ["SelectMixIn"]


class SelectMixIn(EndpointMixIn):
    """Drives protocols in the serving loop: asyncio's Protocol, BufferedProtocol and DatagramProtocol.

    Blocking handlers come over the bridge of greenlets, and block nobody where they wait for
    their connection; where they wait for anything else they block all.
    """

    styles: ClassVar[frozenset[str]] = frozenset({"protocol"})
    shares_thread: ClassVar[bool] = True

    _idle_sweep: IdleSweep | None = None

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection into the table; hand a datagram to the protocol."""
        if isinstance(request, tuple):
            self.receive_datagram(request, client_address)
            return
        context = self.active_requests[id(request)]
        request.setblocking(False)
        protocol = self.RequestHandlerClass(context)
        context.transport = StreamTransport(self.serving_loop, request, protocol, self, context)
        if self.idle_timeout is not None and self._idle_sweep is None:
            self._idle_sweep = IdleSweep(self)
        context.transport.start()

    def transport_failed(self, transport: Any, error: Exception) -> None:
        """Take note of what a protocol raised, or what broke its connection."""
        context = transport.context
        self.handle_failure(context.request, context.client_address, error)

    def transport_lost(self, transport: Any) -> None:
        """Strike the connection from the table, and close it."""
        context = transport.context
        self.conclude_request(context.request)
        context.transport = None

    def complete_requests(self, loop: ServerLoop) -> None:
        """Poll until the table is empty."""
        while self.active_requests:
            loop.poll(None)

    def leave_loop(self, loop: Loop) -> None:
        """Cut the connections that shutdown() left in the table: nobody would go on with them."""
        self.abort_requests()
        self._idle_sweep = None
        super().leave_loop(loop)
