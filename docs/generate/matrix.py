"""The reference of combinations: every verdict on what plugport brings, with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from installed import registry
from prose import page, table

from plugport.combination.verdicts import MatrixRow, Verdict
from plugport.combination.verdicts import matrix as all_combinations

__all__ = ["matrix"]


def matrix() -> str:
    """Return the page."""
    rows = list(all_combinations(registry()))
    legal = sum(row.verdict.legal for row in rows)
    return page(
        "All combinations",
        f"{len(rows)} combinations of what plugport brings, {legal} of them legal. "
        "`plugport matrix` gives those of all that is installed, `plugport check HANDLER SERVER STRATEGY` "
        "a single one. Handlers of the same verdicts share a table; the numbers are of the remarks below.",
        *_tables(rows),
    )


def _tables(rows: Sequence[MatrixRow]) -> Iterator[str]:
    verdicts: dict[str, dict[tuple[str, str], Verdict]] = {}
    for row in rows:
        verdicts.setdefault(row.handler, {})[row.concurrency, row.server] = row.verdict
    alike: dict[frozenset[tuple[tuple[str, str], Verdict]], list[str]] = {}
    for handler, found in verdicts.items():
        alike.setdefault(frozenset(found.items()), []).append(handler)
    for handlers in alike.values():
        yield f"## {', '.join(handlers)}"
        yield from _table(verdicts[handlers[0]])


def _table(verdicts: dict[tuple[str, str], Verdict]) -> Iterator[str]:
    strategies, servers = (list(dict.fromkeys(names)) for names in zip(*verdicts, strict=True))
    remarks: list[str] = []
    cells = []
    for strategy in strategies:
        row = [f"`{strategy}`"]
        for server in servers:
            verdict = verdicts[strategy, server]
            numbers = []
            for remark in _remarks(verdict):
                if remark not in remarks:
                    remarks.append(remark)
                numbers.append(remarks.index(remark) + 1)
            row.append(("yes" if verdict.legal else "**no**") + "".join(f" ({number})" for number in numbers))
        cells.append(row)
    yield table(["", *(f"`{server}`" for server in servers)], cells)
    yield "\n".join(f"{number}. {remark}" for number, remark in enumerate(remarks, 1))


def _remarks(verdict: Verdict) -> Iterator[str]:
    if verdict.bridge:
        yield f"by the bridge {verdict.bridge}"
    if verdict.reason:
        yield f"refused: {verdict.reason}"
    for warning in verdict.warnings:
        yield f"warning: {warning}"
