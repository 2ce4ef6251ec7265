"""The plugin of the tools: the commands bench, doctor and new, and the checks of the doctor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plugport import hookimpl

if TYPE_CHECKING:
    from plugport import Finding
    from plugport.cli import LazyCommand
    from plugport.plugin import Registry
    from plugport.serving import Url

__all__ = ["plugport_doctor", "plugport_register_commands"]


@hookimpl
def plugport_register_commands() -> Iterator[LazyCommand]:
    """The commands of this package."""
    from plugport.cli import LazyCommand  # late: it imports click, which only the command line needs

    yield LazyCommand(
        "bench", "plugport_tools.bench.command:bench", "Measure a handler under each strategy, recommend one"
    )
    yield LazyCommand(
        "doctor", "plugport_tools.doctor.command:doctor", "Check this machine and what is installed"
    )
    yield LazyCommand("new", "plugport_tools.new.command:new", "Make a project for a component or a plugin")


@hookimpl
def plugport_doctor(urls: tuple[Url, ...], registry: Registry) -> Iterator[Finding]:
    """The checks of this machine, of this Python, of what is installed and of the URLs."""
    from plugport_tools.doctor.checks import CHECKS, run_checks
    from plugport_tools.doctor.deployment import plan_deployment

    yield from run_checks(plan_deployment(registry, urls), CHECKS)
