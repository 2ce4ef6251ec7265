"""Plan: the handler, the URL and the strategies of a benchmark, checked before anything runs."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from plugport.combination import (
    UnknownOptionError,
    Verdict,
    check,
    compose,
    parse_framing,
    parse_options,
    parse_plugin_options,
)
from plugport.contracts import Part, StrategyTraits, Style, configure, server_traits, strategy_traits
from plugport.errors import AddressError, IncompatibleError, PlugportError
from plugport.handlers import style_of
from plugport.plugin import Entry, Registry
from plugport.serving import Url, parse_url
from plugport_tools.bench.exchange import Address

__all__ = ["Candidate", "Plan", "make_plan"]

#: The address families that the load has clients for.
_FAMILIES = (socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", None))
_KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
#: The addresses at which a client reaches a service that listens on all interfaces.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A strategy to measure.

    ``refusal``          why it can't serve the handler, "" if it can; if it can't, no other field is set
    ``caveats``          its disadvantages, whatever is measured
    ``serial``           whether it serves one request at a time
    ``options``          the options, ``KEY=VALUE``, that one of its parts or a plugin has
    ``unknown_options``  the other options
    """

    strategy: str
    refusal: str = ""
    caveats: tuple[str, ...] = ()
    serial: bool = False
    options: tuple[str, ...] = ()
    unknown_options: tuple[str, ...] = ()
    server_class: Any = None

    def address_of(self, url: str) -> Address:
        """Return the address of the service that announces *url*. Raises AddressError."""
        address, members = self.server_class.resolve_url(parse_url(url))
        family = members.get("address_family", self.server_class.address_family)
        if isinstance(address, tuple):
            address = (_LOOPBACK.get(address[0], address[0]), *address[1:])
        return Address(family, self.server_class.socket_type, address)


@dataclass(frozen=True, slots=True)
class Plan:
    """A benchmark; the *candidates* are in the order of the listing, or of the command."""

    handler: str
    url: str
    is_stream: bool
    candidates: tuple[Candidate, ...]

    @property
    def legal(self) -> list[Candidate]:
        """The candidates that are not refused."""
        return [candidate for candidate in self.candidates if not candidate.refusal]


def make_plan(
    registry: Registry, handler: str, url: str, strategies: Sequence[str] = (), options: Sequence[str] = ()
) -> Plan:
    """Return the plan, with everything checked. *strategies* are names, by default all registered ones.

    Raises IncompatibleError if all of them are refused, AddressError, OptionError, and what finding
    and loading a component raises.
    """
    parsed = parse_url(url)
    parts = _Parts(registry, registry.find("handler", handler), registry.find("server", parsed.scheme))
    server_class = registry.load(parts.server)
    is_stream = _is_stream(parsed, server_class)
    entries = [registry.find("concurrency", name) for name in dict.fromkeys(strategies)]
    verdicts = [
        (entry, parts.verdict(entry, strict=bool(strategies)))
        for entry in entries or registry.entries("concurrency")
    ]
    legal = [entry for entry, verdict in verdicts if verdict.legal]
    if not legal:
        raise IncompatibleError(_all_refused(parts, verdicts))
    of_parts, _ = parse_plugin_options(registry.plugins, options)
    framed, of_parts = parse_framing(registry.load(parts.handler), of_parts, registry)
    chosen = parts.distribute(framed, of_parts, legal)
    of_all = tuple(text for text in options if text not in of_parts)
    candidates = []
    for entry, verdict in verdicts:
        if verdict.legal:
            candidate = parts.candidate(framed, entry, verdict, chosen[entry.selector], of_parts, parsed)
            candidates.append(replace(candidate, options=(*of_all, *candidate.options)))
        else:
            candidates.append(Candidate(entry.selector, verdict.reason))
    return Plan(handler, url, is_stream, tuple(candidates))


def _is_stream(url: Url, server_class: Any) -> bool:
    """Whether the load needs connections, not datagrams. Raises AddressError if it has no such clients."""
    family = getattr(server_class, "address_family", None)
    kind = getattr(server_class, "socket_type", None)
    if family not in _FAMILIES or kind not in _KINDS or server_traits(server_class).secure:
        raise AddressError(
            f"{url}: plugport bench has no clients for {url.scheme} servers; "
            "use a server on IPv4, IPv6 or unix sockets, without TLS"
        )
    return bool(kind == socket.SOCK_STREAM)


def _all_refused(parts: _Parts, verdicts: list[tuple[Entry, Verdict]]) -> str:
    reasons: dict[str, list[str]] = {}
    for entry, verdict in verdicts:
        reasons.setdefault(verdict.reason, []).append(entry.selector)
    told = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    return (
        f"{parts.handler.name} can't be served by {parts.server.name} under any of these strategies: {told}"
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """A handler and a server that are combined with each strategy."""

    registry: Registry
    handler: Entry
    server: Entry

    def verdict(self, strategy: Entry, *, strict: bool) -> Verdict:
        """Return the verdict. A strategy that can't be loaded is refused; with *strict* it is an error."""
        try:
            return check(self.handler, self.server, strategy, self.registry)
        except PlugportError as error:
            if strict:
                raise
            self.registry.load(self.handler)  # raises if the handler is the cause
            return Verdict("refused", str(error))

    def distribute(
        self, handler: object, options: Sequence[str], strategies: list[Entry]
    ) -> dict[str, list[str]]:
        """Return for each strategy the options that are known under it. One that none knows is an error.

        *handler* is the target, with its framing.
        """
        chosen: dict[str, list[str]] = {strategy.selector: [] for strategy in strategies}
        for text in options:
            unknown: list[UnknownOptionError] = []
            for strategy in strategies:
                try:
                    self._parse(handler, [text], strategy)
                    chosen[strategy.selector].append(text)
                except UnknownOptionError as error:
                    unknown.append(error)
            if len(unknown) == len(strategies):
                raise unknown[0]
        return chosen

    def candidate(
        self,
        handler: object,
        strategy: Entry,
        verdict: Verdict,
        chosen: list[str],
        options: Sequence[str],
        url: Url,
    ) -> Candidate:
        """Return the candidate of a legal strategy. Raises what composing its parts raises."""
        mixin = self.registry.load(strategy)
        members = self._parse(handler, chosen, strategy)
        server_class: Any = compose(self.registry.load(self.server), mixin)
        server_class = configure(server_class, {**members["server"], **members["concurrency"]})
        server_class.resolve_url(url)
        configure(handler, members["handler"])
        traits = strategy_traits(mixin)
        return Candidate(
            strategy.selector,
            caveats=_caveats(verdict, traits, style_of(handler)),
            serial=traits.serial,
            options=tuple(chosen),
            unknown_options=tuple(text for text in options if text not in chosen),
            server_class=server_class,
        )

    def _parse(self, handler: object, texts: Sequence[str], strategy: Entry) -> dict[Part, dict[str, Any]]:
        entries: dict[Part, Entry] = {
            "server": self.server,
            "concurrency": strategy,
            "handler": self.handler,
        }
        targets: dict[Part, object] = {
            "server": self.registry.load(self.server),
            "concurrency": self.registry.load(strategy),
            "handler": handler,
        }
        return parse_options(texts, targets, {part: entry.selector for part, entry in entries.items()})


def _caveats(verdict: Verdict, traits: StrategyTraits, style: Style) -> tuple[str, ...]:
    if traits.serial:
        return verdict.warnings or ("one request that takes long holds up all others",)
    if traits.isolates_memory:
        return (*verdict.warnings, "what a handler changes in memory is gone with its process")
    if not traits.runs_in_threads(style):
        return (*verdict.warnings, "a single thread: a handler that computes for long holds up all others")
    return verdict.warnings
