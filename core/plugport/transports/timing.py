"""call_later: a timer for whoever has a transport, whatever loop that lives in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["TimerHandle", "call_later"]


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
