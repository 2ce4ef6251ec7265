"""Rounds of figures, and what is made of them: medians, spreads, ratios, verdicts. Computes only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from statistics import median

from bars import Bar
from experiment import Figures


@dataclass(frozen=True)
class Spread:
    """The median of the rounds, the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = list(values)
        return cls(median(found), min(found), max(found))


@dataclass(frozen=True)
class Comparison:
    """A figure of ours, beside that of a peer (None: it stands alone), and the bar, if there is one."""

    peer: str | None
    figure: Spread
    ratio: Spread | None
    at_most: float | None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None if there is none."""
        if self.at_most is None:
            return None
        return (self.ratio or self.figure).median <= self.at_most


@dataclass(frozen=True)
class Result:
    """A bar, and the rounds of its servers: ours first, then the peers, each as often."""

    bar: Bar
    rounds: tuple[tuple[Figures, ...], ...]

    def figure(self, number: int, metric: str | None = None) -> Spread:
        """A figure of our server (0) or of a peer (1 and up) over the rounds."""
        return Spread.of(getattr(figures, metric or self.bar.metric) for figures in self.rounds[number])

    def ratio(self, number: int) -> Spread:
        """Ours to a peer's, round by round: the median over the rounds is of ratios, not of figures."""
        metric = self.bar.metric
        pairs = zip(self.rounds[0], self.rounds[number], strict=True)
        return Spread.of(getattr(ours, metric) / getattr(theirs, metric) for ours, theirs in pairs)

    def comparisons(self) -> Iterator[Comparison]:
        """Ours by itself, then beside each peer."""
        yield Comparison(None, self.figure(0), None, self.bar.at_most)
        for number, peer in enumerate(self.bar.peers, 1):
            yield Comparison(peer.server.name, self.figure(number), self.ratio(number), peer.at_most)

    def medians(self, number: int) -> dict[str, float]:
        """The medians of all figures of a server."""
        return {field.name: self.figure(number, field.name).median for field in fields(Figures)}
