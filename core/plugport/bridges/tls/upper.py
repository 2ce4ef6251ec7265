"""UpperTransport: the base of a transport above another one, with the methods that are the same for both."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from plugport.contracts.loops import TimerHandle
from plugport.contracts.requests import RequestContext
from plugport.transports import call_later, clock_of

__all__ = ["UpperTransport"]


class UpperTransport:
    """Passes calls on to the transport below, which is plugport's or asyncio's."""

    __slots__ = ("_below", "_closing")

    def __init__(self) -> None:
        self._below: Any = None
        self._closing = False

    @property
    def context(self) -> RequestContext | None:
        """The record of the connection's request, if the transport below has one."""
        context: RequestContext | None = getattr(self._below, "context", None)
        return context

    def is_closing(self) -> bool:
        """Return whether the transport is closing or closed."""
        return self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the sizes of unsent encrypted data in bytes at which writing pauses and resumes."""
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return (low, high)."""
        limits: tuple[int, int] = self._below.get_write_buffer_limits()
        return limits

    def get_write_buffer_size(self) -> int:
        """Return how many encrypted bytes are unsent."""
        size: int = self._below.get_write_buffer_size()
        return size

    def detach(self) -> socket.socket:
        """Raise OSError: the data on the socket is encrypted."""
        raise OSError(errno.EOPNOTSUPP, "a connection over TLS can't be detached from it")

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Have the loop run *callback* after the current one."""
        if hasattr(self._below, "call_soon"):
            self._below.call_soon(callback)
        else:
            self.call_later(0.0, callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """Have the loop run *callback* in *seconds*; return a timer with cancel()."""
        return call_later(self._below, seconds, callback)

    @property
    def clock(self) -> Callable[[], float]:
        """The clock that call_later() uses."""
        return clock_of(self._below)
