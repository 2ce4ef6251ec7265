"""chargen: characters without end (RFC 864)."""

from __future__ import annotations

import random
from typing import Any

from plugport_builtins.handlers.inet import InetHandler

__all__ = ["ChargenHandler"]

_PRINTABLE = bytes(range(32, 127))
_LINES = [(_PRINTABLE + _PRINTABLE)[start : start + 72] + b"\r\n" for start in range(len(_PRINTABLE))]
#: The pattern until it repeats.
_PATTERN = b"".join(_LINES)
_STREAM_CHUNK = _PATTERN * 9  # somewhat below 64 KiB
_MAX_DATAGRAM = 512


class ChargenHandler(InetHandler):
    """Sends lines of 72 characters, each turned by one, until the client leaves (RFC 864).

    A datagram is answered with one of a random length up to 512.
    """

    def converse(self, connection: Any) -> None:
        """Send until the client no longer takes it."""
        while True:
            connection.sendall(_STREAM_CHUNK)

    def reply(self, data: bytes) -> bytes:
        """Return the beginning of the pattern, of random length."""
        return _PATTERN[: random.randint(0, _MAX_DATAGRAM)]
