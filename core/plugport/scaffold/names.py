"""Names: what a new project is called in the registry, in Python and in the package index."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from plugport.component import Component, Kind
from plugport.distributions import canonical_name, installed_version
from plugport.errors import ScaffoldError
from plugport.registry import Registry

__all__ = ["Names"]

#: Characters: as long as a line of generated code has room for.
_MAX_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Names:
    """The names that follow from *component*, that of a component.

    The prefix of distribution and package keeps them apart from keywords and from the modules of
    the standard library. Raises ScaffoldError if no component can have the name.
    """

    component: str

    def __post_init__(self) -> None:
        try:
            Component(self.component, object())
        except ValueError as error:
            raise ScaffoldError(str(error)) from None
        if len(self.component) > _MAX_LENGTH:
            raise ScaffoldError(f"the name has {len(self.component)} characters; {_MAX_LENGTH} are the most")

    @property
    def plugin(self) -> str:
        """The name of the entry point: that of the component, in letters, digits and hyphens."""
        return canonical_name(self.component.replace("+", "-")).strip("-")

    @property
    def distribution(self) -> str:
        """``plugport-NAME``, normalised (PEP 503)."""
        return f"plugport-{self.plugin}"

    @property
    def package(self) -> str:
        """``plugport_name``."""
        return self.distribution.replace("-", "_")

    def class_name(self, suffix: str) -> str:
        """``NameSuffix``."""
        return "".join(part.capitalize() for part in self.plugin.split("-")) + suffix

    def check_free(self, registry: Registry, kind: Kind | None) -> None:
        """Raise ScaffoldError if one of the names is taken by what is installed.

        *kind* is that of the component, None for a project without one.
        """
        for entry in registry.entries(kind) if kind else ():
            if entry.name == self.component:
                what = f"{kind} {entry.name!r}"
                if entry.origin == "built-in":
                    raise ScaffoldError(
                        f"{what} is plugport's own, and would shadow yours; choose another name"
                    )
                raise ScaffoldError(f"there is a {what} of {entry.distribution}; choose another name")
        for record in registry.plugins.records:
            if record.name == self.plugin:
                raise ScaffoldError(
                    f"there is a plugin {record.name!r} of {record.distribution}; choose another name"
                )
        version = installed_version(self.distribution)
        if version is not None:
            raise ScaffoldError(
                f"{self.distribution} {version} is installed; uninstall it, or choose another name"
            )
        place = _origin(self.package)
        if place is not None:
            raise ScaffoldError(f"there is a module {self.package!r} ({place}); choose another name")


def _origin(module: str) -> str | None:
    """Return the file of an importable top-level *module*; None for none, or a mere directory."""
    spec = importlib.util.find_spec(module)
    return None if spec is None else spec.origin
