"""Deployment: what the checks look at, the components that are installed and the URLs to be served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from plugport.errors import PlugportError
from plugport.plugin import Registry
from plugport.serving import Url, adopt, is_foreign_server, parse_url

__all__ = ["Deployment", "Listening", "plan_deployment"]


class Listening(NamedTuple):
    """One URL, the server class that would listen there, and its socket address.

    ``members`` are the member variables that the URL implies, as resolve_url() gives them.
    """

    url: Url
    server: Any
    address: Any
    members: dict[str, Any]


class Deployment(NamedTuple):
    """What is installed, and where it is to listen."""

    registry: Registry
    listening: tuple[Listening, ...] = ()

    @property
    def urls(self) -> tuple[Url, ...]:
        """The URLs alone."""
        return tuple(each.url for each in self.listening)

    def servers(self) -> Iterator[tuple[str, Any]]:
        """Yield the names and classes of the servers of the URLs; without URLs of all that can be had."""
        if self.listening:
            yield from {each.url.scheme: each.server for each in self.listening}.items()
            return
        for entry in self.registry.entries("server"):
            try:
                yield entry.selector, _servable(self.registry.load(entry))
            except PlugportError:
                continue  # another check tells of it


def plan_deployment(registry: Registry, urls: Iterable[str]) -> Deployment:
    """Read *urls*. Raises what finding and loading their servers raises, and AddressError."""
    listening = []
    for text in urls:
        url = parse_url(text)
        server = _servable(registry.get("server", url.scheme))
        listening.append(Listening(url, server, *server.resolve_url(url)))
    return Deployment(registry, tuple(listening))


def _servable(server: Any) -> Any:
    return adopt(server) if is_foreign_server(server) else server
