"""``plugport doctor``: reports problems of this machine and of what is installed, with remedies."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from plugport.cli import Session, print_json
from plugport.contracts import Finding
from plugport.serving import parse_url
from plugport_tools.doctor.deployment import plan_deployment
from plugport_tools.doctor.diagnosis import diagnose

__all__ = ["doctor"]


@click.command()
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Write JSON: an array of objects.")
@click.pass_context
def doctor(context: click.Context, urls: tuple[str, ...], as_json: bool) -> None:
    """Check this machine and what is installed.

    With URLs it also checks whether a service can listen there. The limits are those of the doctor's
    own process: run it as the user of the service, on its machine. All components are imported;
    nothing listens. The exit status is 0 if there is no problem, 1 if there is one, 2 for bad input.
    Warnings are no problems: a service can run with them.
    """
    session = context.find_object(Session)
    assert session is not None
    deployment = plan_deployment(session.registry, map(parse_url, urls))
    found = []
    for finding in diagnose(deployment):
        found.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print_json([_fields(finding) for finding in found])
    else:
        click.echo(_summary(found))
    context.exit(1 if any(finding.status == "problem" for finding in found) else 0)


def _print(finding: Finding) -> None:
    click.echo(f"{finding.status:<9}{finding.check}: {finding.message}")
    if finding.remedy:
        click.echo(f"{'':<9}-> {finding.remedy}")


def _summary(found: list[Finding]) -> str:
    counts = Counter(finding.status for finding in found)
    return ", ".join(
        f"{counts[status]} {status}{'' if counts[status] == 1 else 's'}" for status in ("problem", "warning")
    )


def _fields(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "status": finding.status,
        "message": finding.message,
        "remedy": finding.remedy or None,
    }
