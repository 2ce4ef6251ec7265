"""Rounds of figures, and what is made of them: medians, spreads, ratios, verdicts. Computes only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bar import Bar
from errors import BenchmarkError
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
class Row:
    """A server of a bar: its figures round by round, and, if it is a peer, ours in ratio to them."""

    server: str
    rounds: tuple[Figures, ...]
    figure: Spread
    ratio: Spread | None
    at_most: float | None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met: by the ratio, by the figure itself for ours; None if there is none."""
        if self.at_most is None:
            return None
        return (self.ratio or self.figure).median <= self.at_most

    def median(self, name: str) -> float:
        """The median over the rounds of any figure."""
        return median(getattr(figures, name) for figures in self.rounds)


@dataclass(frozen=True)
class Result:
    """A bar, and the rounds of its servers in the order of Bar.subjects(), each as many."""

    bar: Bar
    rounds: tuple[tuple[Figures, ...], ...]

    def __post_init__(self) -> None:
        metric = self.bar.metric.name
        for (server, _), rounds in zip(self.bar.subjects(), self.rounds, strict=True):
            if not all(getattr(figures, metric) > 0 for figures in rounds):
                raise BenchmarkError(f"{server.name}: a figure of 0 is no figure; take more rounds")

    def rows(self) -> list[Row]:
        """Ours, then each peer."""
        metric = self.bar.metric.name
        values = [[getattr(figures, metric) for figures in rounds] for rounds in self.rounds]
        bars = [self.bar.at_most, *(peer.at_most for peer in self.bar.peers)]
        rows = []
        for number, ((server, _), at_most) in enumerate(zip(self.bar.subjects(), bars, strict=True)):
            # The median is of the rounds' ratios: what disturbs a round disturbs both of its figures.
            ratios = [ours / theirs for ours, theirs in zip(values[0], values[number], strict=True)]
            ratio = Spread.of(ratios) if number else None
            rows.append(Row(server.name, self.rounds[number], Spread.of(values[number]), ratio, at_most))
        return rows

    def missed(self) -> bool:
        """Whether one of its bars is missed."""
        return any(row.met is False for row in self.rows())

    def describe(self) -> dict[str, Any]:
        """All of it, for JSON."""
        rows = [{**asdict(row), "met": row.met} for row in self.rows()]
        loads = [asdict(load) for _, load in self.bar.subjects()]
        return {
            "name": self.bar.name,
            "title": self.bar.title,
            "metric": self.bar.metric.name,
            "servers": [{**row, "load": load} for row, load in zip(rows, loads, strict=True)],
        }
