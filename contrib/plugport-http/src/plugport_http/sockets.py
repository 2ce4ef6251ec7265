"""Operations on a connection's socket that transports lack, and the waits during a drain."""

from __future__ import annotations

import os
import socket
import struct

from plugport.contracts import READ, Transport
from plugport.serving import blocking_poller

from plugport_http.engine import ServerConnection

__all__ = ["MIN_DRAIN_WAIT", "drain_wait", "has_unread_bytes", "reset_connection", "shut_down_reading"]

#: Seconds that a draining server waits for the next request on a persistent connection: it may be on its way.
MIN_DRAIN_WAIT = 0.2
#: Seconds that it waits at most for the first request of a connection.
_MAX_DRAIN_WAIT = 2.0


def drain_wait(http: ServerConnection, header_timeout: float) -> float:
    """Return the seconds that a draining server waits on a connection for the first byte of a request."""
    return MIN_DRAIN_WAIT if http.requests else min(header_timeout, _MAX_DRAIN_WAIT)


def has_unread_bytes(transport: Transport) -> bool:
    """Return whether bytes have arrived that the loop has not read yet; closing now would lose them."""
    sock = transport.get_extra_info("socket")
    poller = blocking_poller()
    try:
        poller.register(sock.fileno(), READ, lambda events: None)
        return poller.dispatch(0.0) > 0
    except (AttributeError, OSError, ValueError):
        return False  # not a socket of the system, or closed
    finally:
        poller.close()


def shut_down_reading(transport: Transport) -> None:
    """Simulate that the client ends its side of the connection; bytes that have arrived are read first."""
    try:
        transport.get_extra_info("socket").shutdown(socket.SHUT_RD)
    except OSError:
        pass  # the connection is closed


def reset_connection(transport: Transport) -> None:
    """Reset the connection, so that the client does not see a regular end of the stream."""
    sock = transport.get_extra_info("socket")
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Close before the server's shutdown() sends a FIN. asyncio's transports have no detach(), and no
        # shutdown() follows.
        if hasattr(transport, "detach"):
            os.close(transport.detach().detach())
    except OSError:
        pass  # the connection is closed, or TLS lies above it
    transport.abort()
