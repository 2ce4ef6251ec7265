"""The recommendation: the strategy to choose by the measurements, and the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Figures", "Recommendation", "recommend"]

#: A strategy whose p99 is more than this many times the best one is not recommended.
_FAR_WORSE = 3.0


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one strategy that served the load; times in seconds.

    ``cpu_per_request``  processor time, more than 0; None if the system does not report it
    ``errors``           number of requests without a right answer
    ``all_at_once``      whether it served all clients at once
    ``caveats``          its disadvantages, whatever is measured
    """

    strategy: str
    requests_per_second: float
    cpu_per_request: float | None
    p99: float
    errors: int = 0
    all_at_once: bool = True
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The recommended strategy, the reason, its disadvantages; None if there is none, with the reason."""

    strategy: str | None
    reason: str
    caveats: tuple[str, ...] = ()


def recommend(measured: Sequence[Figures]) -> Recommendation:
    """Choose the strategy with the least processor time for a request.

    Candidates had no errors, served all clients at once, and have a p99 near the best of theirs. If
    processor time is unknown, the most requests per second decide. The reason names the better
    strategies that are no candidates.
    """
    obstacles = {figures.strategy: _obstacle(figures) for figures in measured}
    sound = [figures for figures in measured if not obstacles[figures.strategy]]
    if not sound:
        told = "; ".join(f"{name} {obstacle}" for name, obstacle in obstacles.items())
        return Recommendation(None, told or "no strategy could be measured")
    bound = _FAR_WORSE * min(figures.p99 for figures in sound)
    for figures in sound:
        if figures.p99 > bound:
            obstacles[figures.strategy] = f"has a p99 of {1000 * figures.p99:.3g} ms"
    by_cost = all(figures.cpu_per_request is not None for figures in measured)
    ranking = sorted(measured, key=_cost if by_cost else _slowness)
    place = next(at for at, figures in enumerate(ranking) if not obstacles[figures.strategy])
    best = ranking[place]
    reason = _reason(best, [other for other in ranking[place:] if not obstacles[other.strategy]], by_cost)
    if place:
        better = [f"{figures.strategy} {obstacles[figures.strategy]}" for figures in ranking[:place]]
        reason += f"; {'cheaper' if by_cost else 'faster'}, but: {', '.join(better)}"
    return Recommendation(best.strategy, reason, best.caveats)


def _obstacle(figures: Figures) -> str:
    if figures.errors:
        return f"had {figures.errors} error{'s' if figures.errors > 1 else ''}"
    return "" if figures.all_at_once else "does not serve all connections at once"


def _cost(figures: Figures) -> float:
    return figures.cpu_per_request or 0.0


def _slowness(figures: Figures) -> float:
    return -figures.requests_per_second


def _reason(best: Figures, ranking: list[Figures], by_cost: bool) -> str:
    if by_cost:
        reason = f"the least CPU time for a request, {1e6 * _cost(best):.3g} us"
    else:
        reason = f"the most requests in a second, {best.requests_per_second:,.0f}"
    if len(ranking) == 1:
        return f"{reason}, of those that qualify the only one"
    second = ranking[1]
    if by_cost:
        more = _cost(second) / _cost(best) - 1
        return f"{reason}; {second.strategy} takes {_share(more)} more"
    fewer = 1 - second.requests_per_second / best.requests_per_second
    return f"{reason}; {second.strategy} has {_share(fewer)} fewer"


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else "hardly"
