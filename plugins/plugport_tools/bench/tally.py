"""Tally: counts of answers, latencies and errors; cheap to record, and to add up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import exp, floor, log
from typing import NamedTuple

__all__ = ["Tally", "Window", "quantile"]

#: Buckets of latency for each factor of e: each is 1 % wide.
_STEPS = 100
#: Seconds below the resolution of any clock: the least latency.
_LEAST = 1e-9


class Window(NamedTuple):
    """The time in which answers are counted, by time.monotonic(), which all processes share."""

    begin: float
    end: float


class Tally:
    """Answers and errors.

    ``latencies``  number of answers within the window, by bucket of latency
    ``errors``     number of errors, by their description
    ``served``     number of connections, or datagram sockets, that got at least one answer
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self.latencies: dict[int, int] = defaultdict(int)
        self.errors: Counter[str] = Counter()
        self.served = 0

    @property
    def requests(self) -> int:
        """The number of answers within the window."""
        return sum(self.latencies.values())

    def record(self, begun: float, now: float) -> None:
        """Count a request that was sent at *begun* and answered at *now*."""
        begin, end = self.window
        if begin <= now < end:
            self.latencies[floor(log(now - begun or _LEAST) * _STEPS)] += 1

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """Return the sum of the tallies of several processes, for one window."""
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
