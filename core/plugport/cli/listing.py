"""``plugport list``: components, plugins and hooks. Imports no component."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from plugport.cli.output import print_json, print_table
from plugport.cli.session import Session, warn
from plugport.contracts.component import Kind
from plugport.plugin.manager import PluginRecord
from plugport.plugin.registry import Entry

if TYPE_CHECKING:
    from plugport.plugin.records import HookRecord

__all__ = ["entry_fields", "hook_fields", "list_command", "plugin_fields", "status_text"]

_KINDS: dict[str, Kind] = {
    "servers": "server",
    "concurrency": "concurrency",
    "handlers": "handler",
    "framings": "framing",
}


@click.command("list")
@click.argument(
    "what",
    metavar="[servers|concurrency|handlers|framings|plugins|hooks]",
    required=False,
    type=click.Choice([*_KINDS, "plugins", "hooks"]),
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON: an array of objects.")
@click.pass_obj
def list_command(session: Session, what: str | None, as_json: bool) -> None:
    """List components, plugins or hooks.

    Without an argument all components are listed: servers, concurrency strategies, handlers and
    framings, but neither plugins nor hooks. No component is imported.
    """
    if what == "plugins":
        _list_plugins(session.plugins.records, as_json)
        return
    if what == "hooks":
        _list_hooks(session, as_json)
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
            status_text(record.status, record.error),
            ", ".join(record.hooks),
        )
        for record in records
    ]
    print_table("", ("name", "from", "status", "hooks"), rows)


def _list_hooks(session: Session, as_json: bool) -> None:
    from plugport.plugin.records import hook_records  # late: a list of components needs no hooks

    records = hook_records(session.plugins)
    if as_json:
        print_json([hook_fields(record) for record in records])
        return
    rows = [(record.name, record.summary, ", ".join(record.implementers)) for record in records]
    print_table("", ("name", "when", "implemented by"), rows)


def _row(entry: Entry) -> tuple[str, str, str, str]:
    origin = f"{entry.distribution} {entry.version}"
    return entry.name, entry.summary, origin, status_text(entry.status, entry.reason)


def status_text(status: str, reason: str) -> str:
    """Return *status* with its reason, "" if it needs none."""
    return f"{status}: {reason}" if reason else status


def entry_fields(entry: Entry) -> dict[str, Any]:
    """Return the fields of a component for JSON. A missing value is None."""
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
    """Return the fields of a plugin for JSON."""
    return {
        "name": record.name,
        "distribution": record.distribution,
        "version": record.version,
        "status": record.status,
        "error": record.error or None,
        "hooks": list(record.hooks),
    }


def hook_fields(record: HookRecord) -> dict[str, Any]:
    """Return the fields of a hook for JSON."""
    return {
        "name": record.name,
        "summary": record.summary,
        "firstresult": record.firstresult,
        "implementers": list(record.implementers),
    }
