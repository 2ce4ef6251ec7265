"""SelectMixIn: one thread, and a table of partially finished requests.

The table is ``active_requests``; each connection's transport knows its protocol and its unsent
bytes. The serving loop polls them together with the listening socket, and goes on with each that
is ready, for one read or write, before it looks again: so nobody starves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from plugport import RequestContext
from plugport.transports import DatagramTransport, StreamTransport

if TYPE_CHECKING:
    from plugport import BaseServer as _Server
else:
    _Server = object

__all__ = ["SelectMixIn"]


class SelectMixIn(_Server):
    """Drives protocols in the serving loop: asyncio's Protocol, BufferedProtocol and DatagramProtocol.

    RequestHandlerClass makes a protocol from a RequestContext (of a datagram server, from the
    server), as plugport.bridges arranges.
    """

    styles: ClassVar[frozenset[str]] = frozenset({"protocol"})

    _endpoint: Any = None

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection into the table; hand a datagram to the protocol."""
        context = self.active_requests[id(request)]
        if isinstance(request, tuple):
            self._receive(request, client_address)
            return
        request.setblocking(False)
        protocol: Any = self.RequestHandlerClass(context)
        StreamTransport(self.serving_loop, request, protocol, self, context).start()

    def _receive(self, request: Any, client_address: Any) -> None:
        data, sock = request
        if self._endpoint is None:
            self._endpoint = self.RequestHandlerClass(self)
            self._endpoint.connection_made(DatagramTransport(self.serving_loop, sock, self._endpoint, self))
        self._endpoint.datagram_received(data, client_address)
        self.end_request(request)
        self.shutdown_request(request)

    def transport_failed(self, transport: Any, error: Exception) -> None:
        """Take note of what a protocol raised, or what broke its connection."""
        context: RequestContext | None = transport.context
        if context is not None:
            self.take_error(context.request, context.client_address, error)

    def transport_lost(self, transport: Any) -> None:
        """Strike the connection from the table, and close it."""
        if transport.context is not None:
            self.conclude_request(transport.context.request)
