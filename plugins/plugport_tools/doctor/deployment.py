"""Deployment: what the checks look at, the components that are installed and the URLs to be served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

from plugport.errors import PlugportError
from plugport.plugin import Registry
from plugport.serving import BaseServer, Url, adopt, is_foreign_server

__all__ = ["Deployment", "Listening", "plan_deployment"]


class Listening(NamedTuple):
    """One URL, the server class that would listen there, and its socket address.

    ``options`` are those that the URL implies, as ``resolve_url()`` returns them with the address.
    """

    url: Url
    server: type[BaseServer]
    address: Any  # of whatever type the address family has
    options: dict[str, Any]


class Deployment(NamedTuple):
    """What is installed, and where it is to listen."""

    registry: Registry
    listening: tuple[Listening, ...] = ()

    @property
    def urls(self) -> tuple[Url, ...]:
        """The URLs alone."""
        return tuple(each.url for each in self.listening)

    def servers(self) -> Iterator[tuple[str, type[BaseServer]]]:
        """Yield the name and class of each server of the URLs; without URLs, of each that can be loaded."""
        if self.listening:
            yield from {each.url.scheme: each.server for each in self.listening}.items()
            return
        for entry in self.registry.entries("server"):
            try:
                yield entry.selector, _adopted(self.registry.load(entry))
            except PlugportError:
                continue  # the check "components" reports it


def plan_deployment(registry: Registry, urls: Iterable[Url]) -> Deployment:
    """Load the servers of *urls*. Raises AddressError, and what finding and loading a server raises."""
    listening = []
    for url in urls:
        server = _adopted(registry.get("server", url.scheme))
        listening.append(Listening(url, server, *server.resolve_url(url)))
    return Deployment(registry, tuple(listening))


def _adopted(server: type) -> type[BaseServer]:
    return cast(type[BaseServer], adopt(server) if is_foreign_server(server) else server)
