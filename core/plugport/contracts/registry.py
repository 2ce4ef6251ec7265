"""The registry of components as hooks see it; the registry itself is in :mod:`plugport.plugin.registry`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from plugport.contracts.component import Kind

__all__ = ["ComponentRegistry", "RegisteredComponent"]


class RegisteredComponent(Protocol):
    """A component as the registry lists it; ``reason`` says why the status is not "available"."""

    @property
    def kind(self) -> Kind:
        """The kind."""

    @property
    def name(self) -> str:
        """The name that it was registered under."""

    @property
    def distribution(self) -> str:
        """The distribution that ships it."""

    @property
    def status(self) -> Literal["available", "unavailable", "shadowed", "conflict"]:
        """Whether the name selects it."""

    @property
    def reason(self) -> str:
        """Why the name does not select it, "" if it does."""


class ComponentRegistry(Protocol):
    """The components of all active plugins, as hooks get them."""

    def entries(self, kind: Kind | None = None) -> Iterator[RegisteredComponent]:
        """Yield the components of one *kind*, or of all. Imports no target."""

    def get(self, kind: Kind, text: str) -> object:
        """Import the target that *text* names, as on the command line. Raises PlugportError."""
