"""echo: what comes goes back (RFC 862)."""

from __future__ import annotations

from typing import Any

from plugport_builtins.handlers.inet import InetHandler

__all__ = ["EchoHandler"]


class EchoHandler(InetHandler):
    """Sends back what comes, until the client ends its side (RFC 862)."""

    def converse(self, connection: Any) -> None:
        """Send back all that comes."""
        buffer = bytearray(65536)
        view = memoryview(buffer)
        while count := connection.recv_into(buffer):
            connection.sendall(view[:count])

    def reply(self, data: bytes) -> bytes:
        """Return the datagram."""
        return data
