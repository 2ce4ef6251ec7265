"""Check whether the names of a new project are taken by a component, plugin, distribution or module."""

from __future__ import annotations

import importlib.util

from plugport.errors import ScaffoldError
from plugport.plugin import Registry, installed_version
from plugport_tools.new.names import Names
from plugport_tools.new.shapes import Shape

__all__ = ["check_free"]


def check_free(names: Names, shape: Shape, registry: Registry) -> None:
    """Raise ScaffoldError if something that is installed has one of the *names*."""
    for entry in registry.entries(shape.kind) if shape.kind else ():
        if entry.name != names.component:
            continue
        if entry.origin == "built-in":
            raise ScaffoldError(
                f"{shape.what} {entry.name!r} is plugport's own, and would shadow yours; choose another name"
            )
        raise ScaffoldError(
            f"there is a {shape.what} {entry.name!r} of {entry.distribution}; choose another name"
        )
    for record in registry.plugins.records:
        if record.name == names.plugin:
            raise ScaffoldError(
                f"there is a plugin {record.name!r} of {record.distribution}; choose another name"
            )
    version = installed_version(names.distribution)
    if version is not None:
        raise ScaffoldError(
            f"{names.distribution} {version} is installed; uninstall it, or choose another name"
        )
    module = importlib.util.find_spec(names.package)
    if module is not None and module.origin is not None:  # a directory without a module has no origin
        raise ScaffoldError(f"there is a module {names.package!r} ({module.origin}); choose another name")
