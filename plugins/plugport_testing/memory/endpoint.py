"""MemoryEndpoint: a datagram handler without sockets; connect() chooses between it and MemoryConnection."""

from __future__ import annotations

import socket
from typing import Any, Self

from plugport.contracts import ClientAddress
from plugport.handlers import transports_of
from plugport.transports import DatagramTransport
from plugport_testing.memory.connection import MemoryConnection
from plugport_testing.memory.server import MemoryHandler, MemoryServer, adapted, configured
from plugport_testing.memory.wire import MemorySocket

__all__ = ["MemoryEndpoint", "connect"]

_CLIENT = ("127.0.0.1", 49152)


class MemoryEndpoint:
    """A handler's datagram socket, in memory. The test sends as any client. See MemoryConnection.

    An exception that the handler raises for a datagram is raised by the call that sent it.
    """

    def __init__(
        self, handler: MemoryHandler, *, server: MemoryServer | None = None, **options: object
    ) -> None:
        make_protocol = adapted(configured(handler, options), stream=False)
        self.server = server or MemoryServer()
        self._memory_socket = MemorySocket(socket.SOCK_DGRAM)
        self._sock = self.server.socket = self._memory_socket.as_socket()
        protocol = make_protocol(self.server)
        self.transport = DatagramTransport(None, self._sock, protocol, self)
        protocol.connection_made(self.transport)

    def feed(self, data: bytes, client_address: ClientAddress = _CLIENT) -> list[tuple[bytes, ClientAddress]]:
        """Send a datagram; return all datagrams that the handler sends for it, each with its address."""
        request = (data, self._sock)
        self.server.begin_request(request, client_address)
        try:
            self.protocol.datagram_received(data, client_address)
        except Exception as error:
            self.server.handle_failure(request, client_address, error)
        self.server.conclude_request(request)
        sent, self._memory_socket.sent = self._memory_socket.sent, []
        self.server.raise_error()
        return sent

    def ask(self, message: bytes, client_address: ClientAddress = _CLIENT) -> bytes | None:
        """Send a datagram; return the first one that comes back to that client, None if there is none."""
        replies = [data for data, address in self.feed(message, client_address) if address == client_address]
        return replies[0] if replies else None

    def close(self) -> None:
        """Close the transport: the handler gets connection_lost(None)."""
        self.transport.close()
        self.server.raise_error()

    @property
    def protocol(self) -> Any:
        """The protocol on the transport."""
        return self.transport.get_protocol()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Calls of the transport -----------------------------------------------------------------------

    def transport_failed(self, transport: DatagramTransport, error: Exception) -> None:
        """Record an exception of connection_lost()."""
        self.server.errors.append(error)

    def transport_lost(self, transport: DatagramTransport) -> None:
        """Do nothing: there is no socket to close."""


def connect(handler: MemoryHandler, **options: Any) -> Any:
    """Return a MemoryEndpoint for a handler that serves only datagrams, else a MemoryConnection.

    *handler*, *options*: see MemoryConnection.
    """
    is_datagram = hasattr(handler, "datagram_received") or transports_of(handler) == {"datagram"}
    return MemoryEndpoint(handler, **options) if is_datagram else MemoryConnection(handler, **options)
