"""call_later, clock_of: timers for whoever has a transport, and their clock, whatever loop that lives in."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

__all__ = ["TimerHandle", "call_later", "clock_of"]


class TimerHandle(Protocol):
    """A call to come."""

    def cancel(self) -> None:
        """Let it not come."""


def call_later(transport: Any, seconds: float, callback: Callable[[], None]) -> TimerHandle:
    """Have the loop of *transport* call *callback* in so many seconds; return a handle with cancel().

    A protocol calls it in the thread that calls the protocol, and works so under every strategy: a
    transport of plugport's has call_later() of its own, one of asyncio's lives in the running loop.
    """
    own: Callable[[float, Callable[[], None]], TimerHandle] | None = getattr(transport, "call_later", None)
    if own is not None:
        return own(seconds, callback)
    import asyncio  # late: it takes its time, and whoever has such a transport has paid for it

    return asyncio.get_running_loop().call_later(seconds, callback)


def clock_of(transport: Any) -> Callable[[], float]:
    """Return the clock by which call_later() counts: seconds since no time in particular.

    It is the monotonic clock, but for transports in memory, whose time passes when the test says so.
    """
    clock: Callable[[], float] = getattr(transport, "clock", monotonic)
    return clock
