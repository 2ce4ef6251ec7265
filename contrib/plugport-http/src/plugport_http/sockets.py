"""Waiting for a client: how long in a drain; and what a transport does not do for it."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from plugport.contracts import READ
from plugport.serving import blocking_poller

from plugport_http.engine import ServerConnection

__all__ = ["MIN_DRAIN_WAIT", "cut", "drain_wait", "has_unread_bytes", "shut_down_reading"]

#: Seconds that a connection which waits for another request has when the server drains: it may be on its way.
MIN_DRAIN_WAIT = 0.2
#: Seconds that one has which has had none.
_MAX_DRAIN_WAIT = 2.0


def drain_wait(http: ServerConnection, header_timeout: float) -> float:
    """Return how long a server that drains waits for a request of which nothing has come."""
    return MIN_DRAIN_WAIT if http.requests else min(header_timeout, _MAX_DRAIN_WAIT)


def has_unread_bytes(transport: Any) -> bool:
    """Whether bytes have come that the loop has not read yet: to close now would lose them."""
    sock = transport.get_extra_info("socket")
    poller = blocking_poller()
    try:
        poller.register(sock.fileno(), READ, lambda events: None)
        return poller.dispatch(0.0) > 0
    except (AttributeError, OSError, ValueError):
        return False  # no socket of the system's, or it is closed
    finally:
        poller.close()


def shut_down_reading(transport: Any) -> None:
    """Have the connection's client seem to have ended its side; what has come by then is read."""
    try:
        transport.get_extra_info("socket").shutdown(socket.SHUT_RD)
    except OSError:
        pass  # it has ended


def cut(transport: Any) -> None:
    """Reset the connection, which can't be taken for the end of what is sent."""
    sock = transport.get_extra_info("socket")
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Before the server says goodbye; asyncio's transports, which have no detach(), say none.
        if hasattr(transport, "detach"):
            os.close(transport.detach().detach())
    except OSError:
        pass  # it is gone, or there is TLS above it
    transport.abort()
