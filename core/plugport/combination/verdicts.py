"""Combinations of server, strategy and handler: composing them, and the verdict on what can work together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from plugport.bridges import bridge_between
from plugport.contracts.component import Kind
from plugport.contracts.interfaces import Handler
from plugport.contracts.traits import (
    Style,
    check_traits,
    handler_traits,
    handler_warnings,
    has_strategy_traits,
    is_strategy,
    server_traits,
    strategy_traits,
)
from plugport.contracts.wording import one_of
from plugport.errors import IncompatibleError, PlugportError, UnavailableError
from plugport.handlers.styles import style_of
from plugport.plugin.registry import Entry, Registry, default_registry
from plugport.serving.adoption import adopt, is_foreign_server, is_server
from plugport.serving.running import Serving
from plugport.serving.server import BaseServer

__all__ = ["MatrixRow", "Verdict", "check", "compose", "is_strategy", "matrix"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a combination can work, and why not.

    ``reason`` is "" for a legal one. ``bridge`` is "message -> protocol", say, or None where the
    strategy drives the handler's own style. ``warnings`` are what to know of a legal one.
    """

    verdict: Literal["legal", "refused"]
    reason: str = ""
    bridge: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def legal(self) -> bool:
        """Whether the combination can work."""
        return self.verdict == "legal"


class MatrixRow(NamedTuple):
    """One combination of what is registered, by the names that select its parts."""

    handler: str
    server: str
    concurrency: str
    verdict: Verdict


def compose(
    server: str | Entry | type, concurrency: str | Entry | type, registry: Registry | None = None
) -> type[BaseServer]:
    """Put a strategy's mix-in before a server class: ``class ThreadingUDPServer(ThreadingMixIn, UDPServer)``.

    Either is a class, a name in *registry* (by default that of the installed plugins), or an Entry of it.
    The class has the strategy's name as ``concurrency_name``, for logs and hooks.
    Raises IncompatibleError if the server class has a strategy already, TargetError for a misspelt trait, and
    what looking up the names raises.
    """
    server_class = _resolve("server", server, registry)
    mixin = _resolve("concurrency", concurrency, registry)
    check_traits(mixin)
    check_traits(server_class)
    refusal = _has_strategy(server_class) or _mixes_strategies(mixin)
    if refusal:
        raise IncompatibleError(refusal)
    name = mixin.__name__.removesuffix("MixIn") + server_class.__name__
    if is_foreign_server(server_class):
        server_class = adopt(server_class)
    members = {"__module__": server_class.__module__, "concurrency_name": _label(concurrency)}
    composed: type[BaseServer] = type(name, (mixin, server_class), members)
    return composed


def check(
    handler: str | Entry | Handler,
    server: str | Entry | type,
    concurrency: str | Entry | type,
    registry: Registry | None = None,
) -> Verdict:
    """Say whether *concurrency* can run *handler* on *server*, and why not.

    Each is an object, a name in *registry*, or an Entry of it. Raises what finding a name or
    importing a target raises; a component that is unavailable makes a refusal.
    """
    try:
        target = _resolve("handler", handler, registry)
        server_class = _resolve("server", server, registry)
        mixin = _resolve("concurrency", concurrency, registry)
    except UnavailableError as error:
        return Verdict("refused", str(error))
    check_traits(mixin)
    check_traits(server_class)
    problem = _refusal(target, server_class, mixin, _label(concurrency))
    if problem is not None:
        reason, curable = problem
        return Verdict("refused", reason + (_cure(target, server_class, registry, _fits) if curable else ""))
    warnings = tuple(_warnings(target, server_class, mixin, registry))
    bridge = _bridge(style_of(target), mixin)
    return Verdict("legal", bridge=" -> ".join(bridge) if bridge else None, warnings=warnings)


def matrix(registry: Registry) -> Iterator[MatrixRow]:
    """Yield a row for every handler, server and strategy registered. What can't be loaded is refused."""
    for handler in registry.entries("handler"):
        for server in registry.entries("server"):
            for concurrency in registry.entries("concurrency"):
                try:
                    verdict = check(handler, server, concurrency, registry)
                except PlugportError as error:
                    verdict = Verdict("refused", str(error))
                yield MatrixRow(handler.selector, server.selector, concurrency.selector, verdict)


def _resolve(kind: Kind, what: object, registry: Registry | None) -> Any:
    if isinstance(what, str):
        return (registry or default_registry()).get(kind, what)
    if isinstance(what, Entry):
        return (registry or default_registry()).load(what)
    return what


# The rules ------------------------------------------------------------------------------------


def _refusal(handler: Handler, server: type, mixin: type, name: str = "") -> tuple[str, bool] | None:
    """Return why the three can't work together, and whether another strategy would help; or None."""
    mixed = _has_strategy(server) or _mixes_strategies(mixin)
    if mixed:
        return mixed, False
    wanted, offered, run = handler_traits(handler), server_traits(server), strategy_traits(mixin)
    transport = "stream" if _is_stream(server) else "datagram"
    if transport not in wanted.transports:
        kinds = one_of(sorted(wanted.transports))
        return f"a {kinds} handler can't serve a {transport} server; use a {kinds} server", False
    style = style_of(handler)
    if style not in run.drives and _bridge(style, mixin) is None:
        if style == "async":
            return f"an async handler needs an event loop, and {name} has none", True
        drives = one_of(sorted(run.drives))
        return f"{name} drives {drives} handlers, and no bridge leads there from {style}", True
    if offered.secure and wanted.needs_descriptor:
        return "the handler gives its connection's descriptor away, and there the bytes are encrypted", False
    if offered.has_threads and run.isolates_memory:
        return f"the server runs threads of its own, and {name} forks", True
    if (run.shares_thread or "blocking" not in run.drives) and wanted.needs_thread:
        return f"the handler waits for more than its connection, and would hold up the loop of {name}", True
    if wanted.shared_state:
        if run.isolates_memory:
            return f"the handler keeps state in memory, and {name} gives each request a copy of its own", True
        if run.runs_in_threads(style) and not wanted.thread_safe:
            return (
                f"the handler keeps state in memory and does not declare thread_safe, "
                f"and {name} runs requests at the same time",
                True,
            )
    return None


def _warnings(handler: Handler, server: type, mixin: type, registry: Registry | None) -> Iterator[str]:
    """Yield what to know of a legal combination."""
    yield from handler_warnings(handler)
    if strategy_traits(mixin).serial and _is_stream(server):
        # The service goes on after that, so that what it does not use need not be imported.
        cure = _cure(handler, server, registry, _serves_several, origins=("built-in",))
        yield f"one slow client makes the service deaf to all others{cure}"
    if server_traits(server).shares_requests and handler_traits(handler).shared_state:
        yield "other processes serve the same requests, each with a memory of its own"


def _bridge(style: Style, mixin: type) -> tuple[Style, Style] | None:
    traits = strategy_traits(mixin)
    return bridge_between(style, traits.drives, shares_thread=traits.shares_thread)


def _fits(handler: Handler, server: type, mixin: type) -> bool:
    return _refusal(handler, server, mixin) is None


def _serves_several(handler: Handler, server: type, mixin: type) -> bool:
    return not strategy_traits(mixin).serial and _fits(handler, server, mixin)


def _cure(
    handler: Handler,
    server: type,
    registry: Registry | None,
    will_do: Callable[[Handler, type, type], bool],
    origins: Collection[str] = ("built-in", "third-party"),
) -> str:
    """Name the registered strategies that *will_do*, of these *origins*. They are imported."""
    names = []
    registry = registry or default_registry()
    for entry in registry.entries("concurrency"):
        if entry.origin not in origins:
            continue
        try:
            if will_do(handler, server, registry.load(entry)):
                names.append(entry.selector)
        except PlugportError:
            continue  # can't be loaded: no cure
    return f"; {one_of(names)} would do" if names else "; no strategy that is installed would do"


def _is_stream(server: type) -> bool:
    return (server if issubclass(server, Serving) else adopt(server)).is_stream()


def _label(concurrency: str | Entry | type) -> str:
    if isinstance(concurrency, Entry):
        return concurrency.selector
    return concurrency if isinstance(concurrency, str) else concurrency.__name__


def _mixes_strategies(mixin: type) -> str:
    """Return why *mixin* is more than one strategy, "" if it is one or declares its traits itself."""
    first, *others = [base for base in mixin.__mro__ if has_strategy_traits(base)] or [object]
    for other in others:
        if not issubclass(first, other):
            names = f"{first.__name__} and {other.__name__}"
            return f"{mixin.__name__} is made of two concurrency strategies, {names}; derive it from one"
    return ""


def _has_strategy(server: type) -> str:
    """Return why *server* can't take a strategy, "" if it can: it was composed with one before."""
    for base in server.__mro__:
        if is_server(base) or base is object:
            continue
        if is_strategy(base):
            plain = next(one for one in server.__mro__ if is_server(one) and not issubclass(one, base))
            return (
                f"{server.__name__} has a concurrency strategy already, {base.__name__}; "
                f"use {plain.__module__}:{plain.__qualname__}, and choose the strategy beside it"
            )
    return ""
