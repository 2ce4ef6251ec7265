"""Hints: what error messages say about names that no installed plugin registers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from plugport.contracts.component import Kind

__all__ = ["Hints"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hints:
    """Hints about names that may be unknown, as a plugin's hook ``register_hints`` returns them.

    ``components``
        the distribution that provides a component, by the component's kind and name.
    ``service_plugins``
        the distribution that provides a plugin with options, by the plugin's name, which is the prefix of
        these.
    ``schemes``
        the server on which handlers speak a protocol, by the URL scheme of the protocol.
    ``applications``
        what serves a callable that is no handler, by the names of its last two parameters: a noun phrase,
        the name of a handler and how it is given the callable.
    """

    components: Mapping[tuple[Kind, str], str] = field(default_factory=dict)
    service_plugins: Mapping[str, str] = field(default_factory=dict)
    schemes: Mapping[str, str] = field(default_factory=dict)
    applications: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def merged(cls, parts: Iterable[Hints]) -> Hints:
        """Return the hints of all *parts*; of two about one name, those of the earlier part."""
        components: dict[tuple[Kind, str], str] = {}
        service_plugins: dict[str, str] = {}
        schemes: dict[str, str] = {}
        applications: dict[tuple[str, str], str] = {}
        for part in parts:
            components = {**part.components, **components}
            service_plugins = {**part.service_plugins, **service_plugins}
            schemes = {**part.schemes, **schemes}
            applications = {**part.applications, **applications}
        return cls(
            components=components,
            service_plugins=service_plugins,
            schemes=schemes,
            applications=applications,
        )
