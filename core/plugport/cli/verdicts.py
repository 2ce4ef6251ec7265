"""``plugport check`` and ``plugport matrix``: which combinations can work, and why the others can't."""

from __future__ import annotations

import click

from plugport.cli.completion import complete_component
from plugport.cli.output import print_json, print_table
from plugport.cli.session import Session
from plugport.combination.verdicts import MatrixRow, Verdict, check, matrix

__all__ = ["check_command", "matrix_command"]


@click.command("check")
@click.argument("handler", shell_complete=complete_component("handler"))
@click.argument("server", shell_complete=complete_component("server"))
@click.argument("concurrency", shell_complete=complete_component("concurrency"))
@click.pass_context
def check_command(context: click.Context, handler: str, server: str, concurrency: str) -> None:
    """Say whether CONCURRENCY can run HANDLER on SERVER, and why not.

    The exit status is 0 for legal, 1 for refused.
    """
    session = context.find_object(Session)
    assert session is not None
    registry = session.registry
    verdict = check(
        registry.find("handler", handler),
        registry.find("server", server),
        registry.find("concurrency", concurrency),
        registry,
    )
    if not verdict.legal:
        click.echo(f"refused: {verdict.reason}")
        context.exit(1)
    click.echo(f"legal, by the bridge {verdict.bridge}" if verdict.bridge else "legal")
    for warning in verdict.warnings:
        click.echo(f"warning: {warning}")


@click.command("matrix")
@click.option("--json", "as_json", is_flag=True, help="Write JSON: an array of objects.")
@click.pass_obj
def matrix_command(session: Session, as_json: bool) -> None:
    """Show the verdict on every combination of what is installed."""
    rows = list(matrix(session.registry))
    if as_json:
        print_json(
            [
                {
                    "handler": row.handler,
                    "server": row.server,
                    "concurrency": row.concurrency,
                    "verdict": row.verdict.verdict,
                    "bridge": row.verdict.bridge,
                    "reason": _remark(row.verdict) or None,
                }
                for row in rows
            ]
        )
        return
    print_table(
        "", ("handler", "server", "concurrency", "verdict", "bridge", "reason"), [_cells(row) for row in rows]
    )


def _cells(row: MatrixRow) -> tuple[str, ...]:
    verdict = row.verdict
    return row.handler, row.server, row.concurrency, verdict.verdict, verdict.bridge or "", _remark(verdict)


def _remark(verdict: Verdict) -> str:
    return verdict.reason or "; ".join(f"warning: {warning}" for warning in verdict.warnings)
