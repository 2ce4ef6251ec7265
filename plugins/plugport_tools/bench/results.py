"""What measuring finds: rounds, and the medians of rounds."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from plugport_tools.bench.plan import Candidate
from plugport_tools.bench.recommend import Figures

__all__ = ["Measurement", "Round"]


@dataclass(frozen=True, slots=True)
class Round:
    """What one round has shown. Times in seconds, memory in bytes, None where the system does not tell.

    ``processors``  processor time for each second: how many processors the service kept busy
    ``served``      how many connections were answered at all
    ``log``         how the service's log ends, where there were errors
    """

    requests: int
    requests_per_second: float
    p50: float
    p99: float
    processors: float | None
    memory: int | None
    errors: Counter[str]
    served: int
    log: str = ""


@dataclass(slots=True)
class Measurement:
    """All that was measured of a strategy; the figures are medians of its rounds.

    ``connections``  how many were made at once
    ``failure``      why it could not be measured, "" if it could
    """

    candidate: Candidate
    connections: int
    rounds: list[Round] = field(default_factory=list)
    failure: str = ""

    @property
    def requests_per_second(self) -> float:
        """Requests that were answered in a second."""
        return statistics.median(each.requests_per_second for each in self.rounds)

    @property
    def p50(self) -> float:
        """Seconds within which half of the answers came."""
        return statistics.median(each.p50 for each in self.rounds)

    @property
    def p99(self) -> float:
        """Seconds within which 99 of 100 answers came."""
        return statistics.median(each.p99 for each in self.rounds)

    @property
    def processors(self) -> float | None:
        """How many processors the service kept busy."""
        return _median(each.processors for each in self.rounds)

    @property
    def cpu_per_request(self) -> float | None:
        """Processor seconds for a request."""
        return _median(
            None if each.processors is None else each.processors / each.requests_per_second
            for each in self.rounds
        )

    @property
    def memory(self) -> int | None:
        """Bytes, at the end of the window."""
        found = _median(each.memory for each in self.rounds)
        return None if found is None else round(found)

    @property
    def errors(self) -> Counter[str]:
        """What went wrong, and how often, in all rounds."""
        return sum((each.errors for each in self.rounds), Counter())

    @property
    def served(self) -> int:
        """How many connections were answered at all, in the round in which they were the fewest."""
        return min(each.served for each in self.rounds)

    def figures(self, connections: int) -> Figures:
        """Return what a recommendation needs to know, where so many *connections* were asked for."""
        return Figures(
            self.candidate.strategy,
            self.requests_per_second,
            self.cpu_per_request,
            self.p99,
            errors=self.errors.total(),
            all_at_once=self.connections == connections,
            caveats=self.candidate.caveats,
        )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
