"""The contracts of a loop: pollers, timers, members, and the part of a loop that transports use.

Implementations are in :mod:`plugport.loop`; a strategy may have its own.
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
    "TransportLoop",
]

#: Seconds that aborted requests have to end, once after the first abort and once after the forced one.
ABORT_GRACE = 1.0

#: Events, as given to register() and to callbacks. A broken connection is readable and writable.
#: A callback may be called although its descriptor is not ready: what it calls must not block.
READ, WRITE = 1, 2

Callback = Callable[[int], None]


class Poller(Protocol):
    """Waits for descriptors, and runs the callbacks of those that are ready."""

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """Watch *fd* for *events*. Raises KeyError if it is watched already."""

    def modify(self, fd: int, events: int, callback: Callback) -> None:
        """Watch *fd* for other *events*; with 0 the poller reports only that *fd* broke, or nothing."""

    def unregister(self, fd: int) -> None:
        """Stop watching *fd*; must be called before *fd* is closed. An unknown descriptor is ignored."""

    def dispatch(self, timeout: float | None) -> int:
        """Wait for at most *timeout* seconds (None: no limit), and run the callbacks of ready descriptors.

        A callback that was unregistered by an earlier one is not run. Returns how many descriptors were
        ready.
        """

    def close(self) -> None:
        """Close the poller's own descriptors and no other, so that a forked child may call it."""


class TimerHandle(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call. Has no effect after the call was made."""


class LoopMember(Protocol):
    """A server in a loop: what the loop calls before and after each wait."""

    #: Whether the decisions of prepare() hold until its wait is over or Loop.reconsider() is called.
    steady: bool
    #: Whether the loop has waited since the last prepare(). A loop that can turn without a wait sets it.
    polled: bool

    def prepare(self, timeout: float | None) -> float | None:
        """Decide what to poll for; return the longest wait in seconds, *timeout* at most (None: no limit)."""

    def settle(self) -> None:
        """End a turn: do periodic work, or leave the loop."""

    def leave(self) -> None:
        """Leave the loop."""

    def abandon(self) -> None:
        """Close, in a forked child, the copies of what the server listens on and has accepted."""


class TransportLoop(Protocol):
    """The part of a loop that the transport of a connection uses."""

    def register(self, fd: int, events: int, callback: Callback, /) -> None:
        """Run *callback* with the events that happened when *fd* is ready for *events* (READ, WRITE)."""

    def modify(self, fd: int, events: int, callback: Callback, /) -> None:
        """Watch *fd* for other *events*."""

    def unregister(self, fd: int, /) -> None:
        """Stop watching *fd*; must be called before *fd* is closed."""

    def call_soon(self, callback: Callable[[], object], /) -> object:
        """Run *callback* in this thread, after the current callback."""

    def call_later(self, seconds: float, callback: Callable[[], None], /) -> TimerHandle:
        """Run *callback* in this thread in *seconds*, unless the timer that is returned is cancelled."""


class Loop(TransportLoop, Protocol):
    """What a server and its Listener use of the loop that they are in."""

    #: Whether wake() reaches the loop.
    can_wake: bool

    def wake(self) -> None:
        """End the current wait. Safe from any thread and from a signal handler."""

    def reconsider(self) -> None:
        """Have the listeners decide again what to poll for before the next wait."""

    def discard(self, member: LoopMember) -> None:
        """Stop polling for *member*."""

    def end_session(self, end: Callable[[], object]) -> None:
        """Call *end* after the requests that a server aborted when it left have ended."""

    def abandon(self) -> None:
        """Release, in a forked child, the loop's descriptors, and what its servers listen on and hold."""
