"""Results: rounds, and the medians of rounds."""

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
    """The results of one round. Times in seconds, memory in bytes, None if the system does not report it.

    ``processors``  processor seconds per second: the number of processors that the service kept busy
    ``served``      number of connections with at least one answer
    ``log``         end of the service's log, if there were errors
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
    """The measurements of a strategy; the figures are medians of its rounds.

    ``connections``  number of connections at once
    ``failure``      why it could not be measured, or ""
    """

    candidate: Candidate
    connections: int
    rounds: list[Round] = field(default_factory=list)
    failure: str = ""

    @property
    def requests_per_second(self) -> float:
        """Answers per second."""
        return statistics.median(each.requests_per_second for each in self.rounds)

    @property
    def p50(self) -> float:
        """Median latency in seconds."""
        return statistics.median(each.p50 for each in self.rounds)

    @property
    def p99(self) -> float:
        """Latency in seconds that 99 of 100 answers do not exceed."""
        return statistics.median(each.p99 for each in self.rounds)

    @property
    def processors(self) -> float | None:
        """Number of processors that the service kept busy."""
        return _median(each.processors for each in self.rounds)

    @property
    def cpu_per_request(self) -> float | None:
        """Processor seconds per request."""
        return _median(
            None if each.processors is None else each.processors / each.requests_per_second
            for each in self.rounds
        )

    @property
    def memory(self) -> int | None:
        """Resident memory in bytes, at the end of the window."""
        found = _median(each.memory for each in self.rounds)
        return None if found is None else round(found)

    @property
    def errors(self) -> Counter[str]:
        """Number of errors of all rounds, by their description."""
        return sum((each.errors for each in self.rounds), Counter())

    @property
    def served(self) -> int:
        """Number of connections with at least one answer, in the round with the fewest."""
        return min(each.served for each in self.rounds)

    def figures(self, connections: int) -> Figures:
        """Return the figures for a recommendation; *connections* is the number that was asked for."""
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
