"""What a loop is to those who live in it: pollers, timers, and the members that it polls for.

Implementations are in :mod:`plugport.loop`; a strategy may bring its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = [
    "ABORT_GRACE",
    "READ",
    "WRITE",
    "Callback",
    "Loop",
    "LoopMember",
    "Poller",
    "TimerHandle",
]

#: Seconds that aborted requests have to end, once after the first abort and once after the forced one.
ABORT_GRACE = 1.0

#: Events, as given to register() and to callbacks. A broken connection is readable and writable.
#: A callback may come although its descriptor is not ready: what it calls must not block.
READ, WRITE = 1, 2

Callback = Callable[[int], None]


class Poller(Protocol):
    """What both do."""

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """Watch *fd* for *events*. Raises KeyError if it is watched already."""

    def modify(self, fd: int, events: int, callback: Callback) -> None:
        """Watch *fd* for other *events*; 0 keeps its place and reports only that it broke, or nothing."""

    def unregister(self, fd: int) -> None:
        """Watch *fd* no longer. To be called before it is closed; unknown ones are let pass."""

    def dispatch(self, timeout: float | None) -> int:
        """Wait for at most *timeout* seconds (None: for ever), and call who is due.

        Who was unregistered by one that was called before is not called. Returns how many descriptors
        were ready.
        """

    def close(self) -> None:
        """Release the poller's own descriptors, and nothing else: a forked child may do it."""


class TimerHandle(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Drop the call. Has no effect once it was made."""


class LoopMember(Protocol):
    """A server's place in a loop: what the loop asks it around each wait."""

    #: Whether what prepare() decided stands until its wait is over or Loop.reconsider() is called.
    steady: bool
    #: Whether the loop has waited since the last prepare(); a loop that turns without a wait sets it.
    polled: bool

    def prepare(self, timeout: float | None) -> float | None:
        """Decide what to poll for; return the longest wait in seconds, *timeout* at most (None: for ever)."""

    def settle(self) -> None:
        """End a turn: do periodic work, or leave."""

    def leave(self) -> None:
        """Leave the loop."""

    def abandon(self) -> None:
        """Close, in a forked child, the copies of what the server listens on and has accepted."""


class Loop(Protocol):
    """What a server and its Listener need of the loop that they are in."""

    #: Whether wake() reaches the loop.
    can_wake: bool

    def wake(self) -> None:
        """End the current wait. Safe from any thread and from a signal handler."""

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """Call *callback* with what has happened when *fd* is ready for *events* (READ, WRITE)."""

    def modify(self, fd: int, events: int, callback: Callback) -> None:
        """Watch *fd* for other *events*."""

    def unregister(self, fd: int) -> None:
        """No longer watch *fd*; to be called before it is closed."""

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call *callback* in this thread, after what is being called now."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """Call *callback* in this thread in so many seconds; return a timer with cancel()."""

    def reconsider(self) -> None:
        """Have the listeners look again at what to poll for before the next wait."""

    def discard(self, member: LoopMember) -> None:
        """Stop polling for *member*."""

    def end_session(self, end: Callable[[], object]) -> None:
        """Call *end* once the requests that a server cut when it left have ended."""

    def abandon(self) -> None:
        """Release, in a forked child, the loop's descriptors, and what its servers listen on and hold."""
