"""What plugport itself brings, whatever else is installed beside it."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType

import plugport
import plugport_builtins
from plugport.plugin.distributions import entry_points
from plugport.plugin.manager import PluginRecord, load_plugins
from plugport.plugin.registry import Registry

__all__ = ["modules", "others", "registry"]


def others() -> list[str]:
    """Return the names by which the plugins of other distributions are disabled."""
    records = [PluginRecord(each.name, each.distribution, each.version) for each in entry_points("plugport")]
    return [record.qualified_name for record in records if not record.is_builtin]


@functools.cache
def registry() -> Registry:
    """Return the components of plugport's own plugins."""
    return Registry(load_plugins(others(), strict=True))


@functools.cache
def modules() -> list[ModuleType]:
    """Import and return all modules, but for those that only tests use, and those that run something."""
    found = [
        importlib.import_module(each.name)
        for package in (plugport, plugport_builtins)
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not each.name.startswith("plugport_testing") and not each.name.endswith("__main__")
    ]
    return [plugport, plugport_builtins, *found]
