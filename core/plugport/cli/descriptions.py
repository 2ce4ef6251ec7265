"""Descriptions of components, plugins and hooks, as ``plugport show`` prints them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import Any, NamedTuple

from plugport.cli.listing import entry_fields, hook_fields, plugin_fields, status_text
from plugport.combination.conversion import type_name
from plugport.combination.options import Option, collect
from plugport.contracts.traits import StrategyTraits, strategy_traits
from plugport.errors import PlugportError
from plugport.handlers.styles import style_of, transports_of
from plugport.plugin.manager import PluginRecord
from plugport.plugin.records import HookRecord
from plugport.plugin.registry import Entry, Registry

__all__ = ["Description", "Table", "describe_component", "describe_hook", "describe_plugin"]


class Table(NamedTuple):
    """Rows of text under a title and the names of the columns."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class Description(NamedTuple):
    """The description of one thing.

    ``fields`` are printed and in the JSON, ``details`` are in the JSON only; ``tables`` and ``text``
    are the details as they are printed.
    """

    fields: dict[str, Any]
    details: dict[str, Any]
    tables: Sequence[Table] = ()
    text: str = ""


# Components -----------------------------------------------------------------------------------


def describe_component(registry: Registry, entry: Entry) -> Description:
    """Describe *entry*. Options are null if its target can't be imported."""
    fields = entry_fields(entry)
    fields["target"] = entry.target if isinstance(entry.target, str) else _place(entry.target)
    try:
        target = registry.load(entry)
    except PlugportError as error:
        fields["reason"] = fields["reason"] or str(error)
        return Description(fields, {"options": None})
    if entry.kind == "handler":
        fields["style"] = style_of(target)
        fields["transports"] = sorted(transports_of(target))
    elif entry.kind == "concurrency":
        fields.update(_strategy_fields(strategy_traits(target)))
    options = collect(target).values()
    return Description(
        fields, {"options": [_option_fields(each) for each in options]}, [_options_table(options)]
    )


def _strategy_fields(traits: StrategyTraits) -> dict[str, object]:
    values = {field.name: getattr(traits, field.name) for field in dataclass_fields(traits)}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()}


def _place(target: object) -> str:
    name = getattr(target, "__qualname__", None)
    return f"{target.__module__}:{name}" if name else repr(target)


def _option_fields(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "type": type_name(option.type, option.note),
        "default": option.default,
        "help": option.help,
    }


def _options_table(options: Iterable[Option]) -> Table:
    return Table("options", ("name", "type", "default", "help"), [_option_row(each) for each in options])


def _option_row(option: Option) -> tuple[str, str, str, str]:
    return option.name, type_name(option.type, option.note), _default(option), option.help


def _default(option: Option) -> str:
    """Return the default as ``-o`` takes it."""
    value = option.default
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if option.note.octal and isinstance(value, int):
        return f"{value:04o}"
    if isinstance(value, bytes):
        return repr(value)[2:-1]
    if isinstance(value, type):  # a framing that is set in code
        return _place(value)
    return str(value) if isinstance(value, (int, float, str)) else repr(value)


# Plugins and hooks ----------------------------------------------------------------------------


def describe_plugin(registry: Registry, record: PluginRecord) -> Description:
    """Describe *record*, its options and its components. The components of a failed plugin are lost.

    Imports the class that the plugin puts into services.
    """
    fields = {
        "kind": "plugin",
        "name": record.name,
        "qualified_name": record.qualified_name,
        "origin": "built-in" if record.is_builtin else "third-party",
        "module": record.module,
        **plugin_fields(record),
        "commands": list(record.commands),
    }
    components = list(_components(registry, record))
    details: dict[str, Any] = {"components": components}
    tables = [
        Table(
            "components",
            ("kind", "name", "summary", "status"),
            [
                (
                    each["kind"],
                    each["name"],
                    each["summary"],
                    status_text(each["status"], each["reason"] or ""),
                )
                for each in components
            ],
        )
    ]
    if registry.plugins.has_service_plugin(record):
        try:
            target = registry.plugins.service_plugin(record)
        except PlugportError as error:
            fields["error"], details["options"] = str(error), None
        else:
            fields["service_plugin"] = _place(target)
            fields["service_hooks"] = sorted(
                name.removeprefix("plugport_")
                for name in dir(target)
                if hasattr(getattr(target, name), "plugport_impl")
            )
            # -o takes an option of a plugin with the name of the plugin as its prefix.
            found = collect(target).values()
            options = [replace(each, name=f"{record.name}.{each.name}") for each in found]
            details["options"] = [_option_fields(each) for each in options]
            tables.append(_options_table(options))
    return Description(fields, details, tables)


def _components(registry: Registry, record: PluginRecord) -> Iterator[dict[str, Any]]:
    plugins = registry.plugins
    own = {(found.kind, found.component.name) for found in plugins.registrations if found.plugin is record}
    for entry in registry.entries():
        if entry.distribution == record.distribution and (entry.kind, entry.name) in own:
            yield _component_fields(entry.kind, entry.name, entry.summary, entry.status, entry.reason)
    for kind, component, plugin in plugins.lost:
        if plugin is record:
            yield _component_fields(kind, component.name, component.summary, "lost", "the plugin failed")


def _component_fields(kind: str, name: str, summary: str, status: str, reason: str) -> dict[str, Any]:
    return {"kind": kind, "name": name, "summary": summary, "status": status, "reason": reason or None}


def describe_hook(record: HookRecord) -> Description:
    """Describe *record*."""
    fields: dict[str, Any] = {"kind": "hook", **hook_fields(record)}
    summary = fields.pop("summary")
    fields["signature"] = record.signature
    return Description(
        fields, {"summary": summary, "documentation": record.documentation}, text=record.documentation
    )
