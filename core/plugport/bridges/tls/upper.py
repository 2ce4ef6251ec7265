"""UpperTransport: the part of a transport's interface that one above another leaves to that."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from plugport.transports import call_later, clock_of

__all__ = ["UpperTransport"]


class UpperTransport:
    """Asks the transport below, plugport's or asyncio's, what is the same for both."""

    __slots__ = ("_below", "_closing")

    def __init__(self) -> None:
        self._below: Any = None
        self._closing = False

    @property
    def context(self) -> Any:
        """The RequestContext of the connection, where the transport below has one."""
        return getattr(self._below, "context", None)

    def is_closing(self) -> bool:
        """Whether the transport is closing or closed."""
        return self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the sizes of unsent data, encrypted, at which writing pauses and resumes."""
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return (low, high)."""
        limits: tuple[int, int] = self._below.get_write_buffer_limits()
        return limits

    def get_write_buffer_size(self) -> int:
        """Return how many bytes, encrypted, are unsent."""
        size: int = self._below.get_write_buffer_size()
        return size

    def detach(self) -> Any:
        """Not to be had: whoever took the socket could not read what comes. Raises OSError."""
        raise OSError(errno.EOPNOTSUPP, "a connection over TLS can't be detached from it")

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Have the loop call *callback* after what it calls now."""
        if hasattr(self._below, "call_soon"):
            self._below.call_soon(callback)
        else:
            self.call_later(0.0, callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Have the loop call *callback* in so many seconds; return a timer with cancel()."""
        return call_later(self._below, seconds, callback)

    @property
    def clock(self) -> Callable[[], float]:
        """The clock by which call_later() counts."""
        return clock_of(self._below)
