"""Output of results: JSON for programs, tables for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

__all__ = ["print_json", "print_table"]


def print_json(value: object) -> None:
    """Write *value* as JSON. Objects that JSON has no type for are written as their repr()."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=repr))


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table: on a terminal fitted to its width by rich, else one line for each row.

    rich is imported for a terminal only: its import takes longer than a whole listing.
    """
    if sys.stdout is not None and sys.stdout.isatty():
        _print_rich(title, header, rows)
    else:
        _print_plain(title, header, rows)


def _print_rich(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # Text: brackets in it are not markup
    Console().print(table)


def _print_plain(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if title:
        click.echo(title)
    indent = "  " if title else ""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo((indent + "  ".join(cells)).rstrip())
