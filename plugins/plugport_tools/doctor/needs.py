"""Check of requirements: of the distributions of plugins, of their dependencies, and of components."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion

from plugport.contracts import Finding
from plugport.plugin import canonical_name, installed_version, requirements_of
from plugport_tools.doctor.deployment import Deployment

__all__ = ["requirements"]

#: The distributions that were checked, each with its requested extras.
Seen = set[tuple[str, frozenset[str]]]


class _Need(NamedTuple):
    """One requirement: who needs it, and what meets it, or why nothing does and the remedy."""

    who: str
    met_by: str
    fault: str = ""
    remedy: str = ""


def requirements(deployment: Deployment) -> Iterator[Finding]:
    """Requirements of plugins and of components that the installed distributions do not meet."""
    plugins = deployment.registry.plugins
    distributions = list(dict.fromkeys(record.distribution for record in plugins.records))
    seen: Seen = set()
    needs = [need for each in distributions for need in _needs_of_distribution(each, (), seen)]
    yield from (Finding("problem", need.fault, need.remedy) for need in needs if need.fault)
    for each in distributions:
        own = [need for need in needs if need.who == _title(each)]
        if not any(need.fault for need in own):
            yield Finding("ok", f"{_title(each)} has {', '.join(need.met_by for need in own) or 'no needs'}")
    for found in plugins.registrations:
        who = f"{found.kind} {found.component.name!r} of {found.plugin.distribution}"
        for need in _needs(who, found.component.requires, (), seen):
            if need.fault:  # the other components work without it
                yield Finding("warning", need.fault, need.remedy)


def _title(distribution: str) -> str:
    return f"{distribution} {installed_version(distribution)}"


def _needs_of_distribution(name: str, extras: Collection[str], seen: Seen) -> Iterator[_Need]:
    key = (canonical_name(name), frozenset(extras))
    if key not in seen:
        seen.add(key)
        yield from _needs(_title(name), requirements_of(name), extras, seen)


def _needs(who: str, texts: Iterable[str], extras: Collection[str], seen: Seen) -> Iterator[_Need]:
    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            yield _Need(who, "", f"{who} needs {text!r}, which is no requirement", f"upgrade {who}")
            continue
        if not _applies(requirement, extras):
            continue
        version = installed_version(requirement.name)
        if version is not None and _meets(requirement, version):
            yield _Need(who, f"{requirement.name} {version}")
        else:
            wanted = _without_marker(requirement)
            there = "it is not installed" if version is None else f"{version} is installed"
            yield _Need(who, "", f"{who} needs {wanted}, and {there}", shlex.join(["pip", "install", wanted]))
        if version is not None:
            yield from _needs_of_distribution(requirement.name, requirement.extras, seen)


def _applies(requirement: Requirement, extras: Collection[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, ""))


def _meets(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return False


def _without_marker(requirement: Requirement) -> str:
    bare = copy.copy(requirement)
    bare.marker = None
    return str(bare)
