"""``plugport show``: the description of a component, a plugin or a hook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import click

from plugport.cli.completion import complete_any_name
from plugport.cli.descriptions import Description, describe_component, describe_hook, describe_plugin
from plugport.cli.output import print_json, print_table
from plugport.cli.session import Session
from plugport.contracts.component import KINDS, Kind
from plugport.contracts.wording import nearest
from plugport.errors import PlugportError, UnknownNameError
from plugport.plugin.records import hook_records
from plugport.plugin.specs import HOOKS

__all__ = ["show"]


@click.command()
@click.argument("name", shell_complete=complete_any_name)
@click.option(
    "--kind",
    type=click.Choice([*KINDS, "plugin", "hook"]),
    help="Kind of the thing.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Write JSON: an array of objects, one for each thing of the name."
)
@click.pass_obj
def show(session: Session, name: str, kind: str | None, as_json: bool) -> None:
    """Show a component, a plugin or a hook with its options.

    A component (NAME, DISTRIBUTION:NAME, package.module:attribute or path/to/file.py:attribute) is
    shown with its options; a plugin (NAME, DISTRIBUTION or DISTRIBUTION:NAME) with its components,
    commands and options; a hook (with or without its prefix) with its documentation and the plugins
    that implement it. If several things have the name, all are shown.
    """
    found = _find(session, name, kind)
    if as_json:
        print_json([{**each.fields, **each.details} for each in found])
        return
    for number, each in enumerate(found):
        if number:
            click.echo()
        _print(each)


def _find(session: Session, name: str, kind: str | None) -> list[Description]:
    """Return everything named *name*, of *kind* or of any: components, then plugins, then hooks."""
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
    return [*(describe_component(registry, entry) for entry in entries), *others]


def _plugins(session: Session, name: str, kind: str | None) -> Iterator[Description]:
    if kind in (None, "plugin"):
        for record in session.plugins.records:
            if record.answers_to(name):
                yield describe_plugin(session.registry, record)


def _hooks(session: Session, name: str, kind: str | None) -> Iterator[Description]:
    if kind in (None, "hook"):
        for record in hook_records(session.plugins):
            if record.answers_to(name):
                yield describe_hook(record)


def _refuse(session: Session, name: str, kind: str) -> NoReturn:
    known = HOOKS if kind == "hook" else [record.name for record in session.plugins.records]
    raise UnknownNameError(f"no {kind} named {name!r}{nearest(name, known)} (plugport list {kind}s)")


def _print(description: Description) -> None:
    for key, value in description.fields.items():
        if value not in (None, []):
            click.echo(f"{key + ':':<17}{', '.join(value) if isinstance(value, list) else value}")
    for table in description.tables:
        if table.rows:
            click.echo()
            print_table(*table)
    if description.text:
        click.echo()
        click.echo(description.text)
