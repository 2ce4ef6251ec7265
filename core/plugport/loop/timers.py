"""Timers: scheduled calls, for a loop that runs them between its waits."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from time import monotonic

__all__ = ["Timer", "Timers", "shorter_wait"]


class Timer:
    """A scheduled call."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Cancel the call."""
        self.callback = None

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when


class Timers:
    """The part of a loop that keeps its timers. The loop calls run_timers() before each wait."""

    def __init__(self) -> None:
        self._timers: list[Timer] = []
        self._purge_at = 64  # the number of timers at which cancelled ones are removed

    @property
    def has_timers(self) -> bool:
        """Whether timers are scheduled, cancelled ones included."""
        return bool(self._timers)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Have *callback* called in this thread in *seconds*, unless the timer is cancelled."""
        timer = Timer(monotonic() + seconds, callback)
        timers = self._timers
        if len(timers) >= self._purge_at:
            timers[:] = [other for other in timers if other.callback is not None]
            heapq.heapify(timers)
            self._purge_at = max(64, 2 * len(timers))
        heapq.heappush(timers, timer)
        return timer

    def run_timers(self, timeout: float | None) -> float | None:
        """Run the timers that are due; return the seconds until the next one, *timeout* at most."""
        timers = self._timers
        now = monotonic()
        while timers and (timers[0].callback is None or timers[0].when <= now):
            callback = heapq.heappop(timers).callback
            if callback is not None:
                callback()
        return shorter_wait(timeout, timers[0].when - now) if timers else timeout


def shorter_wait(timeout: float | None, other: float) -> float:
    """Return the shorter of two waits in seconds; None is a wait without a limit."""
    other = max(other, 0.0)
    return other if timeout is None or other < timeout else timeout
