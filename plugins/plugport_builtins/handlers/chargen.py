"""chargen: an endless stream of characters (RFC 864)."""

from __future__ import annotations

import random

from plugport.contracts import StreamRequest
from plugport_builtins.handlers.inet import InetHandler

__all__ = ["ChargenHandler"]

_PRINTABLE = bytes(range(32, 127))
_LINES = [(_PRINTABLE + _PRINTABLE)[start : start + 72] + b"\r\n" for start in range(len(_PRINTABLE))]
#: The lines until they repeat.
_PATTERN = b"".join(_LINES)
_STREAM_CHUNK = _PATTERN * 9  # a little less than 64 KiB
_MAX_DATAGRAM = 512


class ChargenHandler(InetHandler):
    """Sends lines of 72 characters, each rotated by one, until the client closes the connection (RFC 864).

    The reply to a datagram has a random length, 512 bytes at most.
    """

    def converse(self, connection: StreamRequest) -> None:
        """Send until the connection is closed."""
        while True:
            connection.sendall(_STREAM_CHUNK)

    def reply(self, data: bytes) -> bytes:
        """Return the first bytes of the pattern, a random number of them."""
        return _PATTERN[: random.randint(0, _MAX_DATAGRAM)]
