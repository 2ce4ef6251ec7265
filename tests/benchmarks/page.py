"""The table of results in a page of the documentation: put in the place of the one that is there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from errors import BenchmarkError
from report import Table
from results import Result


def put_table(results: Iterable[Result], path: Path) -> None:
    """Replace the table in the Markdown file *path*. Raises BenchmarkError if it has none."""
    table = Table(markdown=True)
    lines = path.read_text().splitlines()
    head = table.head().splitlines()[0]
    if head not in lines:
        raise BenchmarkError(f"{path} has no table of results, which begins with {head!r}")
    begin = end = lines.index(head)
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    lines[begin:end] = [table.head(), *(table.lines(result) for result in results)]
    path.write_text("\n".join(lines) + "\n")
