"""Tally: what a load has seen, counted; cheap to note, and to add to another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import exp, floor, log
from typing import NamedTuple

__all__ = ["Tally", "Window", "quantile"]

#: Buckets of latency for each factor of e: each is 1 % wide.
_STEPS = 100
#: Seconds that no clock can tell from nothing.
_LEAST = 1e-9


class Window(NamedTuple):
    """From when to when answers count, by time.monotonic(), which all processes share."""

    begin: float
    end: float


class Tally:
    """Answers and errors.

    ``latencies``  how many answers that came within the window took how long, by bucket
    ``errors``     how often what went wrong, by a line for people
    ``served``     connections, or datagram sockets, that have been answered at all
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self.latencies: dict[int, int] = defaultdict(int)
        self.errors: Counter[str] = Counter()
        self.served = 0

    @property
    def requests(self) -> int:
        """How many requests were answered within the window."""
        return sum(self.latencies.values())

    def note(self, begun: float, now: float) -> None:
        """Count a request that was *begun* then and answered *now*."""
        begin, end = self.window
        if begin <= now < end:
            self.latencies[floor(log(now - begun or _LEAST) * _STEPS)] += 1

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """Add up what several processes have counted in one window."""
        first, *others = tallies
        for other in others:
            for bucket, count in other.latencies.items():
                first.latencies[bucket] += count
            first.errors += other.errors
            first.served += other.served
        return first


def quantile(latencies: Mapping[int, int], share: float) -> float:
    """Return the seconds within which *share* of the answers came, to half a percent.

    Raises ValueError if there are none.
    """
    if not latencies:
        raise ValueError("no latencies")
    rest = share * sum(latencies.values())
    for bucket in sorted(latencies):
        rest -= latencies[bucket]
        if rest <= 0:
            break
    return exp((bucket + 0.5) / _STEPS)
