"""Checks of what is installed: the plugins, and the components that they register."""

from __future__ import annotations

from collections.abc import Iterator

from plugport.contracts import Finding
from plugport.errors import TargetError
from plugport.plugin import Registration, Registry
from plugport_tools.doctor.deployment import Deployment

__all__ = ["components", "plugins"]


def plugins(deployment: Deployment) -> Iterator[Finding]:
    """Plugins that failed."""
    records = deployment.registry.plugins.records
    for record in records:
        if record.status == "failed":
            yield Finding(
                "problem",
                f"plugin {record.name!r} of {record.distribution} {record.version} failed: {record.error}",
                f"repair or upgrade it, or do without: plugport --disable-plugin {record.qualified_name}",
            )
    if any(record.is_builtin for record in records):
        statuses = [record.status for record in records]
        off = f", {statuses.count('disabled')} disabled" if "disabled" in statuses else ""
        yield Finding("ok", f"{statuses.count('active')} loaded{off}")
    else:
        yield Finding(
            "problem",
            "plugport can be imported, but is not installed: it has no servers, strategies and handlers",
            "install it with pip",
        )


def components(deployment: Deployment) -> Iterator[Finding]:
    """Components that are unavailable on this platform, fail to import, or have a name that is taken."""
    registry = deployment.registry
    sound = 0
    for found in registry.plugins.registrations:
        faults = list(_faults(registry, found))
        sound += not faults
        yield from faults
    yield Finding("ok", f"{sound} can be had by their names")


def _faults(registry: Registry, found: Registration) -> Iterator[Finding]:
    what = f"{found.kind} {found.component.name!r} of {found.plugin.distribution}"
    entry = registry.find(found.kind, f"{found.plugin.distribution}:{found.component.name}")
    if entry.status in ("shadowed", "conflict"):
        reason, _, remedy = entry.reason.partition("; ")
        yield Finding("warning", f"{what}: {reason}", remedy)
    if found.component.unavailable:
        yield Finding("warning", f"{what}: {found.component.unavailable}", f"use another {found.kind}")
    elif not entry.obstacle:  # the check "requirements" reports a missing requirement
        try:
            registry.load(entry)
        except TargetError as error:
            yield Finding("problem", f"{what}: {error}", f"repair or upgrade {found.plugin.distribution}")
