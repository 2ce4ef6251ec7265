"""Names of a new project: in the registry, in Python and for installers."""

from __future__ import annotations

from dataclasses import dataclass

from plugport.contracts import Component
from plugport.errors import ScaffoldError
from plugport.plugin import canonical_name

__all__ = ["Names"]

#: Characters of a name: a line of generated code has room for these.
_MAX_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a project, derived from the name of its *component*.

    The prefix of distribution and package avoids keywords and modules of the standard library.
    Raises ScaffoldError if no component can have the name, or if it is too long.
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
