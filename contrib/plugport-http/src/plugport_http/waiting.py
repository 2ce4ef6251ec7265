"""The end of waiting for a request: whether one has arrived, and how another thread ends the wait."""

from __future__ import annotations

import socket
from typing import Any

from plugport.poller import READ, blocking_poller

__all__ = ["end_reading", "has_arrived"]


def has_arrived(transport: Any) -> bool:
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


def end_reading(transport: Any) -> None:
    """Have the connection's client seem to have ended its side; what has come by then is read."""
    try:
        transport.get_extra_info("socket").shutdown(socket.SHUT_RD)
    except OSError:
        pass  # it has ended
