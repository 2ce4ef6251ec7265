"""Timers for protocols, and their clock, whichever loop the transport of a protocol is in."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from plugport.contracts.loops import TimerHandle

__all__ = ["call_later", "clock_of"]


def call_later(transport: object, seconds: float, callback: Callable[[], None]) -> TimerHandle:
    """Have the loop of *transport* run *callback* in *seconds*; return a handle with cancel().

    Must be called in the thread that calls the protocol. It works under every strategy: a transport of
    plugport's has its own call_later(), one of asyncio's is in the running loop.
    """
    own: Callable[[float, Callable[[], None]], TimerHandle] | None = getattr(transport, "call_later", None)
    if own is not None:
        return own(seconds, callback)
    import asyncio  # late: with a transport of asyncio's it is imported already

    return asyncio.get_running_loop().call_later(seconds, callback)


def clock_of(transport: object) -> Callable[[], float]:
    """Return the clock that call_later() uses: a function that returns seconds since an arbitrary time.

    It is the monotonic clock. A transport in memory has its own, which a test moves.
    """
    clock: Callable[[], float] = getattr(transport, "clock", monotonic)
    return clock
