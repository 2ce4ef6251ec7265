"""Installed distributions, their versions and entry points, read with importlib_metadata.

Headers are found by a regular expression: to parse the metadata as a message is slow, and a listing needs
the headers of every plugin.
"""

import os
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

import importlib_metadata

__all__ = [
    "EntryPoint",
    "canonical_name",
    "entry_points",
    "installed_version",
    "requirements_of",
    "satisfies",
]


class EntryPoint(NamedTuple):
    """An entry point, with the distribution that declares it."""

    name: str
    distribution: str
    version: str
    found: importlib_metadata.EntryPoint

    def load(self) -> object:
        """Import and return the object that it names."""
        loaded: object = self.found.load()
        return loaded


def canonical_name(distribution: str) -> str:
    """Return the normalised name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of *group*: plugport's own, then the others by distribution and name.

    Of several distributions with one name the first on sys.path is used, as for imports.
    """
    header = re.compile(rf"^\s*\[\s*{re.escape(group)}\s*\]", re.MULTILINE)
    names = {
        canonical_name(name)
        for distribution in _installed()
        if header.search(distribution.read_text("entry_points.txt") or "")
        and (name := _header(distribution, "Name"))
    }
    found = []
    for canonical in sorted(names, key=lambda name: (name != "plugport", name)):
        distribution = next(_installed(name=canonical))
        name, version = _header(distribution, "Name"), _header(distribution, "Version")
        declared = sorted(distribution.entry_points.select(group=group), key=lambda point: point.name)
        found += [EntryPoint(point.name, name, version, point) for point in declared]
    return found


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, None if it is not installed."""
    found = next(_installed(name=distribution), None)
    return None if found is None else _header(found, "Version")


def requirements_of(distribution: str) -> list[str]:
    """Return the requirements (PEP 508) of an installed distribution, with those of its extras."""
    found = next(_installed(name=distribution), None)
    return [] if found is None else list(found.requires or ())


# PEP 508: a name, optional extras, an optional version specifier.
_REQUIREMENT = re.compile(
    r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^]]*\])?\s*(?:>=\s*([\d.]+)\s*\Z)?"
)


def satisfies(requirement: str) -> bool:
    """Return whether an installed distribution meets *requirement*: its name, and its ``>=`` version.

    Other specifiers are not checked: the installer has checked them.
    """
    match = _REQUIREMENT.match(requirement)
    if match is None:
        return False
    version = installed_version(match[1])
    if version is None or match[2] is None:
        return version is not None
    return _release(version) >= _release(match[2])


def _release(version: str) -> list[int]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    release = [int(part) for part in match[0].split(".")] if match else []
    while release and not release[-1]:
        release.pop()  # 1.0 is 1 (PEP 440)
    return release


def _installed(**criteria: str) -> Iterator[importlib_metadata.Distribution]:
    # importlib_metadata takes a missing entry for a zip file and imports zipfile, which is slow; one missing
    # entry, python3.zip, is on every sys.path.
    path = [entry for entry in sys.path if os.path.exists(entry or os.curdir)]
    return iter(importlib_metadata.Distribution.discover(path=path, **criteria))


def _header(distribution: importlib_metadata.Distribution, field: str) -> str:
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    match = re.search(
        rf"^{field}:[ \t]*(.*?)[ \t\r]*$", text.partition("\n\n")[0], re.MULTILINE | re.IGNORECASE
    )
    return match[1] if match else ""
