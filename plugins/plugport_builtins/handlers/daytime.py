"""daytime: the date and time as text (RFC 867)."""

from __future__ import annotations

import time

from plugport_builtins.handlers.inet import InetHandler

__all__ = ["DaytimeHandler"]


class DaytimeHandler(InetHandler):
    """Sends the local date and time as a line: ``Sunday, November 22, 2026 17:37:43-UTC`` (RFC 867)."""

    def reply(self, data: bytes) -> bytes:
        """Return the line."""
        return time.strftime("%A, %B %d, %Y %H:%M:%S-%Z\r\n").encode("ascii", "replace")
