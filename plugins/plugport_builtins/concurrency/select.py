"""SelectMixIn: one thread, and a table of partially finished requests.

The table is ``active_requests``; each connection's transport has its protocol and its unsent bytes. The
serving loop polls them together with the listening socket, and does one read or write for each that is ready
before it polls again: so none starves.
"""

from __future__ import annotations

from plugport.contracts import ClientAddress, Loop, Request, StrategyTraits
from plugport.serving import ServerLoop, record_keeping
from plugport.transports import StreamTransport
from plugport_builtins.concurrency.endpoint import EndpointMixIn
from plugport_builtins.concurrency.idle import IdleSweep

__all__ = ["SelectMixIn"]


class SelectMixIn(EndpointMixIn):
    """Drives protocols in the serving loop: asyncio's Protocol, BufferedProtocol and DatagramProtocol.

    Blocking handlers run behind the bridge of greenlets: where they wait for their connection, others run;
    where they wait for anything else, they block all.
    """

    traits = StrategyTraits(drives={"protocol"}, shares_thread=True)

    _idle_sweep: IdleSweep | None = None

    @record_keeping
    def process_request(self, request: Request, client_address: ClientAddress) -> None:
        """Put a connection in the table; pass a datagram to the protocol."""
        if isinstance(request, tuple):
            self.receive_datagram(request, client_address)
            return
        context = self.active_requests[id(request)]
        request.setblocking(False)
        protocol = self.RequestHandlerClass(context)
        context.transport = transport = StreamTransport(self.serving_loop, request, protocol, self, context)
        if self.idle_timeout is not None and self._idle_sweep is None:
            self._idle_sweep = IdleSweep(self)
        transport.start()

    def transport_failed(self, transport: StreamTransport, error: Exception) -> None:
        """Note what a protocol raised, or what broke its connection."""
        context = transport.context
        self.handle_failure(context.request, context.client_address, error)

    def transport_lost(self, transport: StreamTransport) -> None:
        """Remove the connection from the table, and close it."""
        context = transport.context
        self.conclude_request(context.request)
        context.transport = None

    def complete_requests(self, loop: ServerLoop) -> None:
        """Poll until the table is empty."""
        while self.active_requests:
            loop.poll(None)

    def leave_loop(self, loop: Loop) -> None:
        """Abort the connections that shutdown() left in the table: no loop would continue them."""
        self.abort_requests()
        self._idle_sweep = None
        super().leave_loop(loop)
