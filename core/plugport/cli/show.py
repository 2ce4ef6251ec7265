"""``plugport show``: all there is to know of a component, a plugin or a hook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import click

from plugport.cli.completion import complete_shown
from plugport.cli.output import print_json, print_table
from plugport.cli.session import Session
from plugport.cli.shown import Shown, show_component, show_hook, show_plugin
from plugport.contracts.component import KINDS, Kind
from plugport.contracts.wording import nearest
from plugport.errors import PlugportError, UnknownNameError
from plugport.plugin.records import hook_records
from plugport.plugin.specs import HOOKS

__all__ = ["show"]


@click.command()
@click.argument("name", shell_complete=complete_shown)
@click.option("--kind", type=click.Choice([*KINDS, "plugin", "hook"]), help="Show only what is of this kind.")
@click.option(
    "--json", "as_json", is_flag=True, help="Write JSON: an array, for several things may have the name."
)
@click.pass_obj
def show(session: Session, name: str, kind: str | None, as_json: bool) -> None:
    """Show what NAME is, who ships it, and what belongs to it.

    A server, concurrency strategy or handler (NAME, DISTRIBUTION:NAME, package.module:attribute or
    path/to/file.py:attribute) is shown with its options; a plugin (NAME, DISTRIBUTION or
    DISTRIBUTION:NAME) with what it registers, and its own options; a hook (with its prefix or
    without) with its documentation and who implements it. All that have the name are shown.
    """
    found = _find(session, name, kind)
    if as_json:
        print_json([{**shown.fields, **shown.details} for shown in found])
        return
    for number, shown in enumerate(found):
        if number:
            click.echo()
        _print(shown)


def _find(session: Session, name: str, kind: str | None) -> list[Shown]:
    """Return all of *kind*, or of any, that *name* names: components, then plugins, then hooks."""
    others = [*_plugins(session, name, kind), *_hooks(session, name, kind)]
    component_kind: Kind | None = next((each for each in KINDS if each == kind), None)
    if component_kind is None and kind is not None:
        if not others:
            _refuse(session, name, kind)
        return others
    registry = session.registry
    try:
        entries = registry.find_all(name, component_kind)
    except PlugportError:
        if not others:
            raise
        return others
    return [*(show_component(registry, entry) for entry in entries), *others]


def _plugins(session: Session, name: str, kind: str | None) -> Iterator[Shown]:
    if kind in (None, "plugin"):
        for record in session.plugins.records:
            if record.answers_to(name):
                yield show_plugin(session.registry, record)


def _hooks(session: Session, name: str, kind: str | None) -> Iterator[Shown]:
    if kind in (None, "hook"):
        for record in hook_records(session.plugins):
            if record.answers_to(name):
                yield show_hook(record)


def _refuse(session: Session, name: str, kind: str) -> NoReturn:
    known = HOOKS if kind == "hook" else [record.name for record in session.plugins.records]
    raise UnknownNameError(f"no {kind} named {name!r}{nearest(name, known)} (plugport list {kind}s)")


def _print(shown: Shown) -> None:
    for key, value in shown.fields.items():
        if value not in (None, []):
            click.echo(f"{key + ':':<17}{', '.join(value) if isinstance(value, list) else value}")
    for table in shown.tables:
        if table.rows:
            click.echo()
            print_table(*table)
    if shown.text:
        click.echo()
        click.echo(shown.text)
