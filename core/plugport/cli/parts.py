"""Parts: a combination as the command line names it, and its options read, before anything is bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plugport.combination.options import UnknownOptionError, parse_options
from plugport.combination.verdicts import Verdict, check, compose
from plugport.contracts.component import PARTS, Part
from plugport.contracts.members import configure
from plugport.handlers.styles import style_of
from plugport.plugin.registry import Entry, Registry

__all__ = ["Parts"]


class Parts:
    """A handler, a strategy and one or more servers."""

    def __init__(self, registry: Registry, handler: Entry, servers: Sequence[Entry], strategy: Entry) -> None:
        self.registry = registry
        self.handler = handler
        self.servers = servers
        self.strategy = strategy

    def verdicts(self) -> list[Verdict]:
        """Return the verdict on each of the servers."""
        return [check(self.handler, server, self.strategy, self.registry) for server in self.servers]

    def configure(self, texts: Sequence[str]) -> tuple[Any, list[Any]]:
        """Return the handler and the server classes, with the options that ``KEY=VALUE`` *texts* set.

        Each option must be known with one of the servers. Raises OptionError, and what loading a
        component raises.
        """
        load = self.registry.load
        handler = load(self.handler)
        if style_of(handler) == "message":
            from plugport.combination.framings import parse_framing  # late: no other style has framings

            handler, texts = parse_framing(handler, texts, self.registry)
        members: list[dict[Part, dict[str, Any]]] = [{part: {} for part in PARTS} for _ in self.servers]
        for text in texts:
            unknown: list[UnknownOptionError] = []
            for server, chosen in zip(self.servers, members, strict=True):
                targets: dict[Part, Any] = {
                    "server": load(server),
                    "concurrency": load(self.strategy),
                    "handler": handler,
                }
                entries: dict[Part, Entry] = {
                    "server": server,
                    "concurrency": self.strategy,
                    "handler": self.handler,
                }
                names = {part: entry.selector for part, entry in entries.items()}
                try:
                    found = parse_options([text], targets, names)
                except UnknownOptionError as error:
                    unknown.append(error)
                    continue
                for part, values in found.items():
                    chosen[part].update(values)
            if len(unknown) == len(self.servers):
                raise unknown[0]
        classes = [
            configure(
                compose(server, self.strategy, self.registry), {**chosen["server"], **chosen["concurrency"]}
            )
            for server, chosen in zip(self.servers, members, strict=True)
        ]
        return configure(handler, members[0]["handler"]), classes
