"""Options of service plugins: ``NAME.KEY``, with the plugin's name before the key.

A plugin puts a class into services by the hook service_plugin; its options are annotated class attributes, as
those of components (:mod:`plugport.combination.options`). A key without a plugin's name is never an option of
a plugin, so that no plugin can make an option of a component ambiguous.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from plugport.combination.conversion import convert, validate
from plugport.combination.options import Option, UnknownOptionError, collect
from plugport.contracts.component import PARTS
from plugport.contracts.wording import nearest, one_of
from plugport.errors import OptionError, PluginError
from plugport.plugin.manager import PluginRecord, Plugins

__all__ = ["assign_plugin_options", "is_plugin_key", "parse_plugin_options"]

Members = dict[str, dict[str, Any]]
#: Reads a value, by the name of the option and the option.
_Read = Callable[[str, Option, object], object]


def is_plugin_key(key: str) -> bool:
    """Return whether *key*, of an option, has a prefix that is none of a combination's parts."""
    return "." in key and key.partition(".")[0].strip() not in PARTS


def parse_plugin_options(plugins: Plugins, texts: Iterable[str]) -> tuple[list[str], Members]:
    """Take the options of plugins out of ``KEY=VALUE`` *texts*.

    Return the others, for a combination, and the class attributes of service plugins by the qualified names
    of their plugins, for :meth:`Plugins.server_hooks`. Raises OptionError for an unknown prefix, an unknown
    key and a value of the wrong type, PluginError if the plugin fails.
    """
    texts = list(texts)
    left = [text for text in texts if not is_plugin_key(text.partition("=")[0])]
    members: Members = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if is_plugin_key(key):
            if not equals:
                raise OptionError(f"option {text!r} is not KEY=VALUE")
            _assign(plugins, members, key.strip(), value, _convert)
    return left, members


def assign_plugin_options(plugins: Plugins, values: Mapping[str, object]) -> Members:
    """Return the same for *values* that are objects, by their keys, all of them of plugins."""
    members: Members = {}
    for key, value in values.items():
        _assign(plugins, members, key, value, _validate)
    return members


def _convert(name: str, option: Option, value: object) -> object:
    return convert(name, option.type, option.note, str(value))


def _validate(name: str, option: Option, value: object) -> object:
    return validate(name, option.type, option.note, value)


def _assign(plugins: Plugins, members: Members, key: str, value: object, read: _Read) -> None:
    prefix, _, name = key.rpartition(".")
    record = _find(plugins, key, prefix)
    options = collect(plugins.service_plugin(record))
    if name not in options:
        hint = nearest(name, options, f"{prefix}.")
        raise UnknownOptionError(f"no option {key!r}{hint} (plugport show {prefix})")
    members.setdefault(record.qualified_name, {})[name] = read(key, options[name], value)


def _find(plugins: Plugins, key: str, prefix: str) -> PluginRecord:
    """Return the plugin with options that *prefix* names."""
    named = [record for record in plugins.records if record.answers_to(prefix)]
    found = [record for record in named if plugins.has_service_plugin(record)]
    if len(found) > 1:
        names = one_of(f"{record.qualified_name}." for record in found)
        raise OptionError(f"option {key!r} is ambiguous; the prefix must be {names}")
    if found:
        return found[0]
    for record in named:
        if record.status != "active":
            raise PluginError(f"option {key!r}: {record.inactive_reason}")
    distribution = None if named else plugins.hints().service_plugins.get(prefix)
    if distribution is not None:
        raise OptionError(
            f"option {key!r}: no plugin {prefix!r}; {distribution} has it: pip install {distribution}"
        )
    known = [record.name for record in plugins.records if plugins.has_service_plugin(record)]
    prefixes = one_of(f"{each}." for each in [*PARTS, *known])
    raise OptionError(
        f"option {key!r}: no plugin {prefix!r} has options{nearest(prefix, [*known, *PARTS])}; "
        f"the prefix must be {prefixes}"
    )
