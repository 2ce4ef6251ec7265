"""DatagramEndpoint: the one protocol of a datagram server, for strategies that live in a loop."""

from __future__ import annotations

import logging
from typing import Any

from plugport.transports import DatagramTransport

__all__ = ["DatagramEndpoint"]

logger = logging.getLogger("plugport.server")


class DatagramEndpoint:
    """Makes the protocol for the first datagram, gives it each one, and tells it of the end."""

    def __init__(self, server: Any, sock: Any) -> None:
        protocol = server.RequestHandlerClass(server)
        self._transport = DatagramTransport(server.serving_loop, sock, protocol, self)
        protocol.connection_made(self._transport)

    def receive(self, data: bytes, client_address: Any) -> None:
        """Give a datagram to the protocol. Raises what that raises."""
        self._transport.get_protocol().datagram_received(data, client_address)

    def close(self) -> None:
        """Tell the protocol that it is over."""
        self._transport.close()

    def transport_failed(self, transport: Any, error: Exception) -> None:
        """Log what connection_lost() raised: there is no request that it belongs to."""
        logger.error("connection_lost() of a datagram protocol raised", exc_info=error)

    def transport_lost(self, transport: Any) -> None:
        """Do nothing: the socket is the server's."""
