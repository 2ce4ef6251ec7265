"""echo: sends back what it receives (RFC 862)."""

from __future__ import annotations

from plugport.contracts import StreamRequest
from plugport_builtins.handlers.inet import InetHandler

__all__ = ["EchoHandler"]


class EchoHandler(InetHandler):
    """Sends back what it receives, until the client ends its side (RFC 862)."""

    def converse(self, connection: StreamRequest) -> None:
        """Send back all input."""
        buffer = bytearray(65536)
        view = memoryview(buffer)
        while count := connection.recv_into(buffer):
            connection.sendall(view[:count])

    def reply(self, data: bytes) -> bytes:
        """Return the datagram."""
        return data
