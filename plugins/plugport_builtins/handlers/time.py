"""time: the time as a number (RFC 868)."""

from __future__ import annotations

import time

from plugport_builtins.handlers.inet import InetHandler

__all__ = ["EPOCH", "TimeHandler"]

#: Seconds from 1900-01-01, the epoch of RFC 868, to 1970-01-01. The number is in RFC 868.
EPOCH = 2_208_988_800


class TimeHandler(InetHandler):
    """Sends the seconds since 1900-01-01 00:00 UTC, 32 bits, big-endian (RFC 868)."""

    def reply(self, data: bytes) -> bytes:
        """Return the four bytes. They wrap to 0 in 2036."""
        return ((int(time.time()) + EPOCH) % 2**32).to_bytes(4, "big")
