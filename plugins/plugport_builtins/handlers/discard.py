"""discard: reads and discards (RFC 863)."""

from __future__ import annotations

from plugport.contracts import StreamRequest
from plugport_builtins.handlers.inet import InetHandler

__all__ = ["DiscardHandler"]


class DiscardHandler(InetHandler):
    """Reads all input and sends nothing (RFC 863)."""

    def converse(self, connection: StreamRequest) -> None:
        """Read until the client ends its side."""
        buffer = bytearray(65536)
        while connection.recv_into(buffer):
            pass

    def reply(self, data: bytes) -> None:
        """Send no reply."""
