"""``plugport show``: all there is to know of a component, its options above all."""

from __future__ import annotations

from typing import Any

import click

from plugport.cli.completion import complete_component
from plugport.cli.listing import entry_fields
from plugport.cli.output import print_json, print_table
from plugport.cli.session import Session
from plugport.combination import traits_of
from plugport.conversion import type_name
from plugport.errors import PlugportError
from plugport.options import Option, collect
from plugport.registry import Entry, Registry
from plugport.styles import style_of, transports_of

__all__ = ["show"]


@click.command()
@click.argument("name", shell_complete=complete_component())
@click.option(
    "--json", "as_json", is_flag=True, help="Write JSON: an array, for several kinds may have the name."
)
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> None:
    """Show what NAME is, who ships it, and its options.

    NAME is that of a server, concurrency strategy or handler, DISTRIBUTION:NAME,
    package.module:attribute or path/to/file.py:attribute.
    """
    registry = session.registry
    described = [_describe(registry, entry) for entry in registry.find_all(name)]
    if as_json:
        print_json(
            [
                {**fields, "options": options and [_fields(each) for each in options]}
                for fields, options in described
            ]
        )
        return
    for number, (fields, options) in enumerate(described):
        if number:
            click.echo()
        for key, value in fields.items():
            if value is not None:
                click.echo(f"{key + ':':<17}{', '.join(value) if isinstance(value, list) else value}")
        if options:
            click.echo()
            print_table("options", ("name", "type", "default", "help"), [_row(each) for each in options])


def _describe(registry: Registry, entry: Entry) -> tuple[dict[str, Any], list[Option] | None]:
    """What is known of *entry*; what its target would tell is missing where that can't be imported."""
    fields = entry_fields(entry)
    fields["target"] = entry.target if isinstance(entry.target, str) else _place(entry.target)
    try:
        target = registry.load(entry)
    except PlugportError as error:
        fields["reason"] = fields["reason"] or str(error)
        return fields, None
    if entry.kind == "handler":
        fields["style"] = style_of(target)
        fields["transports"] = sorted(transports_of(target))
    elif entry.kind == "concurrency":
        fields.update(traits_of(target))
    return fields, list(collect(target).values())


def _place(target: Any) -> str:
    name = getattr(target, "__qualname__", None)
    return f"{target.__module__}:{name}" if name else repr(target)


def _fields(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "type": type_name(option.type, option.note),
        "default": option.default,
        "help": option.help,
    }


def _row(option: Option) -> tuple[str, str, str, str]:
    return option.name, type_name(option.type, option.note), _default(option), option.help


def _default(option: Option) -> str:
    """The default as it would be written after ``-o``."""
    value = option.default
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if option.note.octal and isinstance(value, int):
        return f"{value:04o}"
    return str(value) if isinstance(value, (int, float, str)) else repr(value)
