"""``plugport list``: the components and plugins there are. Imports no component's target."""

from __future__ import annotations

from typing import Any

import click

from plugport.cli.output import print_json, print_table
from plugport.cli.session import Session, warn
from plugport.component import Kind
from plugport.plugins import PluginRecord
from plugport.registry import Entry

__all__ = ["entry_fields", "list_command", "plugin_fields"]

_KINDS: dict[str, Kind] = {"servers": "server", "concurrency": "concurrency", "handlers": "handler"}


@click.command("list")
@click.argument(
    "what",
    metavar="[servers|concurrency|handlers|plugins]",
    required=False,
    type=click.Choice([*_KINDS, "plugins"]),
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON: an array of objects.")
@click.pass_obj
def list_command(session: Session, what: str | None, as_json: bool) -> None:
    """List the servers, concurrency strategies and handlers, or the plugins that bring them."""
    if what == "plugins":
        _list_plugins(session.plugins.records, as_json)
        return
    chosen = {what: _KINDS[what]} if what else _KINDS
    if as_json:
        print_json(
            [entry_fields(entry) for kind in chosen.values() for entry in session.registry.entries(kind)]
        )
        return
    for title, kind in chosen.items():
        rows = [_row(entry) for entry in session.registry.entries(kind)]
        print_table("" if what else title, ("name", "summary", "from", "status"), rows)
    for record in session.plugins.failed():
        warn(
            f"plugin {record.name!r} of {record.distribution} failed: {record.error} (plugport list plugins)"
        )


def _list_plugins(records: list[PluginRecord], as_json: bool) -> None:
    if as_json:
        print_json([plugin_fields(record) for record in records])
        return
    rows = [
        (
            record.name,
            f"{record.distribution} {record.version}",
            f"{record.status}: {record.error}" if record.error else record.status,
            ", ".join(record.hooks),
        )
        for record in records
    ]
    print_table("", ("name", "from", "status", "hooks"), rows)


def _row(entry: Entry) -> tuple[str, str, str, str]:
    status = f"{entry.status}: {entry.reason}" if entry.reason else entry.status
    return entry.name, entry.summary, f"{entry.distribution} {entry.version}", status


def entry_fields(entry: Entry) -> dict[str, Any]:
    """A component as JSON has it; what there is nothing of is null."""
    return {
        "kind": entry.kind,
        "name": entry.name,
        "qualified_name": entry.qualified_name,
        "summary": entry.summary,
        "distribution": entry.distribution or None,
        "version": entry.version or None,
        "origin": entry.origin,
        "status": entry.status,
        "reason": entry.reason or None,
    }


def plugin_fields(record: PluginRecord) -> dict[str, Any]:
    """A plugin as JSON has it."""
    return {
        "name": record.name,
        "distribution": record.distribution,
        "version": record.version,
        "status": record.status,
        "error": record.error or None,
        "hooks": list(record.hooks),
    }
