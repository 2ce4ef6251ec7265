"""The reference of combinations: a grid of the verdicts on what plugport brings, with their reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from installed import registry
from prose import page, table

from plugport.cli.verdicts import LEGEND, mark_of
from plugport.combination.verdicts import MatrixRow, Verdict
from plugport.combination.verdicts import matrix as all_combinations

__all__ = ["matrix"]

#: The verdicts on a handler, by server and strategy.
Verdicts = dict[tuple[str, str], Verdict]


def matrix() -> str:
    """Return the page."""
    rows = list(all_combinations(registry()))
    legal = sum(row.verdict.legal for row in rows)
    legend = ", ".join(f"`{mark}` {meaning}" for mark, meaning in LEGEND.items())
    return page(
        "All combinations",
        f"plugport brings {len(rows)} combinations of a handler, a server and a strategy; {legal} are legal. "
        "`plugport matrix` shows this grid for everything that is installed. "
        "`plugport check HANDLER SERVER STRATEGY` gives the verdict on one combination.",
        f"The marks: {legend}. A number refers to the remarks below the table. Handlers with the same "
        "verdicts share a table.",
        *_tables(rows),
    )


def _tables(rows: Sequence[MatrixRow]) -> Iterator[str]:
    verdicts: dict[str, Verdicts] = {}
    for row in rows:
        verdicts.setdefault(row.handler, {})[row.server, row.concurrency] = row.verdict
    alike: dict[frozenset[tuple[tuple[str, str], Verdict]], list[str]] = {}
    for handler, found in verdicts.items():
        alike.setdefault(frozenset(found.items()), []).append(handler)
    for handlers in alike.values():
        yield f"## {', '.join(handlers)}"
        yield from _table(verdicts[handlers[0]])


def _table(verdicts: Verdicts) -> Iterator[str]:
    """Yield a table with a row for each server and a column for each strategy, and its remarks."""
    servers, strategies = (list(dict.fromkeys(names)) for names in zip(*verdicts, strict=True))
    remarks: list[str] = []
    cells = []
    for server in servers:
        row = [f"`{server}`"]
        for strategy in strategies:
            verdict = verdicts[server, strategy]
            numbers = []
            for remark in _remarks(verdict):
                if remark not in remarks:
                    remarks.append(remark)
                numbers.append(f"({remarks.index(remark) + 1})")
            row.append(" ".join([f"`{mark_of(verdict)}`", *numbers]))
        cells.append(row)
    yield table(["server", *(f"`{strategy}`" for strategy in strategies)], cells)
    yield "\n".join(f"{number}. {remark}" for number, remark in enumerate(remarks, 1))


def _remarks(verdict: Verdict) -> Iterator[str]:
    if verdict.bridge:
        yield f"by the bridge {verdict.bridge}"
    if verdict.reason:
        yield f"refused: {verdict.reason}"
    for warning in verdict.warnings:
        yield f"warning: {warning}"
