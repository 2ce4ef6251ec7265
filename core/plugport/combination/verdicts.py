"""Combinations: composing a server class with a strategy, and the verdict on what can work together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from plugport.bridges import bridge_between
from plugport.contracts.component import Kind
from plugport.contracts.wording import one_of
from plugport.errors import IncompatibleError, PlugportError, UnavailableError
from plugport.handlers.styles import Style, style_of, transports_of, unwrapped
from plugport.plugin.registry import Entry, Registry, default_registry
from plugport.serving.adopt import adopt, is_foreign_server, is_server
from plugport.serving.running import Serving

__all__ = ["MatrixRow", "Verdict", "check", "compose", "matrix", "traits_of"]

#: What a strategy declares as class attributes, where it is not as here.
_TRAITS: dict[str, Any] = {
    "styles": frozenset({"blocking"}),
    "isolates_memory": False,
    "multithreaded": False,  # or the styles that it runs in threads, when others it does not
    "shares_thread": False,
    "serial": False,
}


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


def compose(server: Any, concurrency: Any, registry: Registry | None = None) -> type:
    """Put a strategy's mix-in before a server class: ``class ThreadingUDPServer(ThreadingMixIn, UDPServer)``.

    Either is a class, a name in *registry* (by default that of the installed plugins), or an Entry of it.
    The class has the strategy's name as ``concurrency_name``, for logs and hooks.
    Raises IncompatibleError if the server class has a strategy already, and what finding the
    names raises.
    """
    server_class = _resolve("server", server, registry)
    mixin = _resolve("concurrency", concurrency, registry)
    refusal = _has_strategy(server_class)
    if refusal:
        raise IncompatibleError(refusal)
    name = mixin.__name__.removesuffix("MixIn") + server_class.__name__
    if is_foreign_server(server_class):
        server_class = adopt(server_class)
    members = {"__module__": server_class.__module__, "concurrency_name": _label(concurrency)}
    return type(name, (mixin, server_class), members)


def check(handler: Any, server: Any, concurrency: Any, registry: Registry | None = None) -> Verdict:
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
    problem = _refusal(target, server_class, mixin, _label(concurrency))
    if problem is not None:
        reason, curable = problem
        return Verdict("refused", reason + (_cure(target, server_class, registry, _fits) if curable else ""))
    warnings: tuple[str, ...] = ()
    if _trait(mixin, "serial") and _is_stream(server_class):
        warning = "one slow client makes the service deaf to all others"
        # The service goes on after that, and what it does not use need not be imported for it.
        warnings = (warning + _cure(target, server_class, registry, _not_deaf, origins=("built-in",)),)
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


def _resolve(kind: Kind, what: Any, registry: Registry | None) -> Any:
    if isinstance(what, str):
        return (registry or default_registry()).get(kind, what)
    if isinstance(what, Entry):
        return (registry or default_registry()).load(what)
    return what


# The rules ------------------------------------------------------------------------------------


def _refusal(handler: Any, server: type, mixin: type, name: str = "") -> tuple[str, bool] | None:
    """Return why the three can't work together, and whether another strategy would help; or None."""
    strategy_inside = _has_strategy(server)
    if strategy_inside:
        return strategy_inside, False
    transport = "stream" if _is_stream(server) else "datagram"
    transports = transports_of(handler)
    if transport not in transports:
        wanted = one_of(sorted(transports))
        return f"a {wanted} handler can't serve a {transport} server; use a {wanted} server", False
    style = style_of(handler)
    driven = _trait(mixin, "styles")
    if style not in driven and _bridge(style, mixin) is None:
        if style == "async":
            return f"an async handler needs an event loop, and {name} has none", True
        return (
            f"{name} drives {one_of(sorted(driven))} handlers, and no bridge leads there from {style}",
            True,
        )
    inner = unwrapped(handler)
    if getattr(server, "secure", False) and getattr(inner, "needs_descriptor", False):
        return "the handler gives its connection's descriptor away, and there the bytes are encrypted", False
    shares_thread = _trait(mixin, "shares_thread") or "blocking" not in driven
    if shares_thread and getattr(inner, "needs_thread", False):
        return f"the handler waits for more than its connection, and would hold up the loop of {name}", True
    if getattr(inner, "shared_state", False):
        if _trait(mixin, "isolates_memory"):
            return f"the handler keeps state in memory, and {name} gives each request a copy of its own", True
        threads = _trait(mixin, "multithreaded")
        if isinstance(threads, frozenset):
            threads = style in threads
        if threads and not getattr(inner, "thread_safe", False):
            return (
                f"the handler keeps state in memory and does not declare thread_safe, "
                f"and {name} runs requests at the same time",
                True,
            )
    return None


def _bridge(style: Style, mixin: type) -> tuple[Style, Style] | None:
    return bridge_between(style, _trait(mixin, "styles"), shares_thread=_trait(mixin, "shares_thread"))


def _fits(handler: Any, server: type, mixin: type) -> bool:
    return _refusal(handler, server, mixin) is None


def _not_deaf(handler: Any, server: type, mixin: type) -> bool:
    return not _trait(mixin, "serial") and _fits(handler, server, mixin)


def _cure(
    handler: Any,
    server: type,
    registry: Registry | None,
    will_do: Callable[[Any, type, type], bool],
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


def _is_stream(server: Any) -> bool:
    # A class of the standard library's answers as it will once it is adopted.
    serving: Any = server if issubclass(server, Serving) else adopt(server)
    stream: bool = serving.is_stream()
    return stream


def _label(concurrency: Any) -> str:
    if isinstance(concurrency, Entry):
        return concurrency.selector
    return concurrency if isinstance(concurrency, str) else str(concurrency.__name__)


def traits_of(mixin: type) -> dict[str, Any]:
    """Return what a strategy declares: styles (sorted), isolates_memory, multithreaded and the others."""
    traits = {name: _trait(mixin, name) for name in _TRAITS}
    return {name: sorted(trait) if isinstance(trait, frozenset) else trait for name, trait in traits.items()}


def _trait(mixin: type, name: str) -> Any:
    foreign = _foreign_traits(mixin).get(name)
    return getattr(mixin, name, _TRAITS[name]) if foreign is None else foreign


def _foreign_traits(mixin: type) -> dict[str, bool]:
    """The traits of the standard library's mix-ins, which declare none."""
    module = sys.modules.get("socketserver")
    for name, trait in (("ThreadingMixIn", "multithreaded"), ("ForkingMixIn", "isolates_memory")):
        base = getattr(module, name, None)
        if isinstance(base, type) and issubclass(mixin, base):
            return {trait: True}
    return {}


def _has_strategy(server: type) -> str:
    """Return why *server* can't take a strategy, "" if it can: it was composed with one before."""
    for base in server.__mro__:
        if is_server(base):
            continue
        if _foreign_traits(base) or vars(base).keys() & _TRAITS.keys():
            plain = next(one for one in server.__mro__ if is_server(one) and not issubclass(one, base))
            return (
                f"{server.__name__} has a concurrency strategy already, {base.__name__}; "
                f"use {plain.__module__}:{plain.__qualname__}, and choose the strategy beside it"
            )
    return ""
