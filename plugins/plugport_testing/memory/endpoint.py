"""MemoryEndpoint: a handler of datagrams without sockets; connect() makes the one or the other."""

from __future__ import annotations

import socket
from typing import Any, Self, cast

from plugport.handlers import transports_of
from plugport.transports import DatagramTransport
from plugport_testing.memory.connection import MemoryConnection
from plugport_testing.memory.server import MemoryServer, adapted, configured
from plugport_testing.memory.wire import MemorySocket

__all__ = ["MemoryEndpoint", "connect"]

_CLIENT = ("127.0.0.1", 49152)


class MemoryEndpoint:
    """A handler's socket of datagrams, whose clients are the test. See MemoryConnection for the arguments.

    What the handler raises for a datagram is raised by the call that sent it.
    """

    def __init__(self, handler: Any, *, server: MemoryServer | None = None, **options: Any) -> None:
        make_protocol = adapted(configured(handler, options), stream=False)
        self.server = server or MemoryServer()
        self.server.socket = self._sock = MemorySocket(socket.SOCK_DGRAM)
        protocol = make_protocol(self.server)
        self.transport = DatagramTransport(None, cast(socket.socket, self._sock), protocol, self)
        protocol.connection_made(self.transport)

    def feed(self, data: bytes, client_address: Any = _CLIENT) -> list[tuple[bytes, Any]]:
        """Send a datagram; return what the handler sends then, pairs of a datagram and its address."""
        request = (data, cast(socket.socket, self._sock))
        self.server.begin_request(request, client_address)
        try:
            self.protocol.datagram_received(data, client_address)
        except Exception as error:
            self.server.handle_failure(request, client_address, error)
        self.server.conclude_request(request)
        sent, self._sock.sent = self._sock.sent, []
        self.server.raise_error()
        return sent

    def ask(self, message: bytes, client_address: Any = _CLIENT) -> bytes | None:
        """Send a datagram; return the first that comes back to that client, None if none does."""
        answers = [data for data, address in self.feed(message, client_address) if address == client_address]
        return answers[0] if answers else None

    def close(self) -> None:
        """Tell the handler that it is over."""
        self.transport.close()
        self.server.raise_error()

    @property
    def protocol(self) -> Any:
        """The protocol that has the socket."""
        return self.transport.get_protocol()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # What the transport calls ---------------------------------------------------------------------

    def transport_failed(self, transport: Any, error: Exception) -> None:
        """Keep what connection_lost() raised."""
        self.server.errors.append(error)

    def transport_lost(self, transport: Any) -> None:
        """Do nothing."""


def connect(handler: Any, **options: Any) -> Any:
    """Return a MemoryConnection to *handler*, or a MemoryEndpoint if it serves datagrams alone.

    A protocol may be an object, too. *options*: see MemoryConnection.
    """
    datagrams = hasattr(handler, "datagram_received") or transports_of(handler) == {"datagram"}
    return MemoryEndpoint(handler, **options) if datagrams else MemoryConnection(handler, **options)
