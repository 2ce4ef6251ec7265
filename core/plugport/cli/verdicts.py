"""``plugport check`` and ``plugport matrix``: which combinations are legal, and why others are refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

import click

from plugport.cli.completion import complete_component
from plugport.cli.output import print_json, print_table
from plugport.cli.parts import Parts
from plugport.cli.session import Session
from plugport.combination.plugin_options import parse_plugin_options
from plugport.combination.verdicts import MatrixRow, Verdict, matrix

__all__ = ["LEGEND", "check_command", "mark_of", "matrix_command"]

#: The marks of a grid, and their meanings.
LEGEND = {
    "+": "legal",
    "~": "legal by a bridge",
    "!": "legal with a warning",
    "-": "refused",
}


@click.command("check")
@click.argument("handler", shell_complete=complete_component("handler"))
@click.argument("server", shell_complete=complete_component("server"))
@click.argument("concurrency", shell_complete=complete_component("concurrency"))
@click.option(
    "-o",
    "--option",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    help="Option to check too, as for 'plugport serve'. May be repeated.",
)
@click.pass_context
def check_command(
    context: click.Context, handler: str, server: str, concurrency: str, options: tuple[str, ...]
) -> None:
    """Check whether a combination is legal.

    The strategy CONCURRENCY is to run HANDLER on SERVER. The exit status is 0 for legal, 1 for
    refused. An option that is unknown, or has a bad value, is an error.
    """
    session = context.find_object(Session)
    assert session is not None
    registry = session.registry
    parts = Parts(
        registry,
        registry.find("handler", handler),
        [registry.find("server", server)],
        registry.find("concurrency", concurrency),
    )
    (verdict,) = parts.verdicts()
    if not verdict.legal:
        click.echo(f"refused: {verdict.reason}")
        context.exit(1)
    if options:
        others, _ = parse_plugin_options(session.plugins, options)
        parts.configure(others)
    click.echo(f"legal, by the bridge {verdict.bridge}" if verdict.bridge else "legal")
    for warning in verdict.warnings:
        click.echo(f"warning: {warning}")


@click.command("matrix")
@click.option("--long", "is_long", is_flag=True, help="Write a line for each combination, with its reason.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON: an array of objects.")
@click.pass_obj
def matrix_command(session: Session, is_long: bool, as_json: bool) -> None:
    """Show which combinations are legal.

    There is a row for each handler and server, and a column for each concurrency strategy.
    """
    rows = list(matrix(session.registry))
    if as_json:
        print_json([_fields(row) for row in rows])
    elif is_long:
        header = ("handler", "server", "concurrency", "verdict", "bridge", "reason")
        print_table("", header, [_cells(row) for row in rows])
    else:
        for line in _grid(rows, shutil.get_terminal_size().columns):
            click.echo(line)


def mark_of(verdict: Verdict) -> str:
    """Return the mark of *verdict* in a grid: a key of LEGEND. A warning comes before a bridge."""
    if not verdict.legal:
        return "-"
    if verdict.warnings:
        return "!"
    return "~" if verdict.bridge else "+"


def _grid(rows: Sequence[MatrixRow], width: int) -> Iterator[str]:
    """Yield the lines of the grid. Strategies are numbered if their names do not fit into *width*."""
    strategies = list(dict.fromkeys(row.concurrency for row in rows))
    marks: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        marks.setdefault((row.handler, row.server), []).append(mark_of(row.verdict))
    headings, key, gap = strategies, [], "  "
    if _width_of(marks, headings) > width:
        headings = [str(number) for number in range(1, len(strategies) + 1)]
        key = [f"{number} {name}" for number, name in zip(headings, strategies, strict=True)]
        gap = " "
    handler_width, server_width = _name_widths(marks)
    for (handler, server), cells in {("handler", "server"): headings, **marks}.items():
        columns = [cell.ljust(len(heading)) for cell, heading in zip(cells, headings, strict=True)]
        line = (handler.ljust(handler_width), server.ljust(server_width), gap.join(columns))
        yield "  ".join(line).rstrip()
    yield ""
    yield from _wrapped([f"{mark} {meaning}" for mark, meaning in LEGEND.items()], width)
    yield from _wrapped(key, width)
    legal = sum(row.verdict.legal for row in rows)
    yield f"{legal} of {len(rows)} combinations are legal; reasons: plugport matrix --long"


def _name_widths(marks: dict[tuple[str, str], list[str]]) -> tuple[int, int]:
    handlers, servers = zip(("handler", "server"), *marks, strict=True)
    return max(map(len, handlers)), max(map(len, servers))


def _width_of(marks: dict[tuple[str, str], list[str]], headings: Sequence[str]) -> int:
    return sum(_name_widths(marks)) + 2 + sum(len(heading) + 2 for heading in headings)


def _wrapped(items: Sequence[str], width: int) -> Iterator[str]:
    """Yield *items* with commas between them, on lines of at most *width*; none is broken."""
    line = ""
    for number, item in enumerate(items, 1):
        text = item if number == len(items) else f"{item},"
        if line and len(line) + 1 + len(text) > width:
            yield line
            line = text
        else:
            line = f"{line} {text}" if line else text
    if line:
        yield line


def _fields(row: MatrixRow) -> dict[str, str | None]:
    return {
        "handler": row.handler,
        "server": row.server,
        "concurrency": row.concurrency,
        "verdict": row.verdict.verdict,
        "bridge": row.verdict.bridge,
        "reason": _remark(row.verdict) or None,
    }


def _cells(row: MatrixRow) -> tuple[str, ...]:
    verdict = row.verdict
    return row.handler, row.server, row.concurrency, verdict.verdict, verdict.bridge or "", _remark(verdict)


def _remark(verdict: Verdict) -> str:
    return verdict.reason or "; ".join(f"warning: {warning}" for warning in verdict.warnings)
