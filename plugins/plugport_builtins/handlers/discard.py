"""discard: what comes is thrown away (RFC 863)."""

from __future__ import annotations

from typing import Any

from plugport_builtins.handlers.inet import InetHandler

__all__ = ["DiscardHandler"]


class DiscardHandler(InetHandler):
    """Throws away what comes, and answers nothing (RFC 863)."""

    def converse(self, connection: Any) -> None:
        """Read until the client ends its side."""
        buffer = bytearray(65536)
        while connection.recv_into(buffer):
            pass

    def reply(self, data: bytes) -> None:
        """Answer nothing."""
