"""Bridges that need no machinery: protocols as they are, and blocking handlers of datagrams in the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from plugport.contracts.interfaces import AnyProtocol, ClientAddress, DatagramRequest, Handler
from plugport.contracts.requests import RequestContext, Server
from plugport.contracts.traits import handler_traits

if TYPE_CHECKING:
    import socket

    from plugport.transports import DatagramTransport

__all__ = [
    "BlockingHandler",
    "DatagramHandler",
    "DatagramProtocolFactory",
    "InlineDatagrams",
    "ProtocolFactory",
    "inline_datagrams",
    "protocol_factory",
]

#: Makes the protocol of a connection.
ProtocolFactory = Callable[[RequestContext], AnyProtocol]
#: Makes the protocol of a datagram server.
DatagramProtocolFactory = Callable[[Server], AnyProtocol]
#: The form in which a strategy gets blocking handlers, of connections and of datagrams.
BlockingHandler = Callable[["socket.socket", ClientAddress, Server], object]
DatagramHandler = Callable[[DatagramRequest, ClientAddress, Server], object]

_ContextOrServer = TypeVar("_ContextOrServer", RequestContext, Server)


def protocol_factory(handler: Handler) -> Callable[[_ContextOrServer], AnyProtocol]:
    """Return a factory of protocols, which is called with a RequestContext or a datagram server.

    The class method ``for_request(context)`` of the handler makes the protocol, if there is one. Else the
    handler is called without arguments, as asyncio does.
    """
    factory: Callable[[_ContextOrServer], AnyProtocol] | None = handler_traits(handler).for_request
    return factory or (lambda _: handler())


class InlineDatagrams:
    """The protocol of a datagram server with a blocking handler, which runs at once: no datagram waits."""

    _socket: socket.socket

    def __init__(self, handler: DatagramHandler, server: Server) -> None:
        self._handler = handler
        self._server = server

    def connection_made(self, transport: DatagramTransport) -> None:
        """Keep no transport: the handler replies through the socket."""
        self._socket = transport.get_extra_info("socket")

    def datagram_received(self, data: bytes, addr: ClientAddress) -> None:
        """Run the handler."""
        self._handler((data, self._socket), addr, self._server)

    def error_received(self, error: Exception) -> None:
        """Ignore an error of sending: the handler sends by itself."""

    def connection_lost(self, error: Exception | None) -> None:
        """Release nothing."""


def inline_datagrams(handler: DatagramHandler) -> Callable[[Server], InlineDatagrams]:
    """Return a factory of the protocol of a datagram server, from a blocking handler."""
    return lambda server: InlineDatagrams(handler, server)
