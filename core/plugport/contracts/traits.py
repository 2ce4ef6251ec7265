"""Traits: what a strategy, a server or a handler declares about itself, each in one typed object.

A strategy and a server declare theirs as the class attribute ``traits``; a handler has class attributes, or
``traits`` too. The functions here read them, once for a class; nothing else looks for them by name.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from plugport.errors import TargetError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = [
    "STYLES",
    "HandlerTraits",
    "ServerTraits",
    "StrategyTraits",
    "Style",
    "TransportKind",
    "check_traits",
    "handler_traits",
    "handler_warnings",
    "has_strategy_traits",
    "is_strategy",
    "is_subclass_of",
    "server_traits",
    "strategy_traits",
    "unwrapped",
]

Style = Literal["blocking", "protocol", "async", "message"]
STYLES: tuple[Style, ...] = get_args(Style)

TransportKind = Literal["stream", "datagram"]
_KINDS: tuple[TransportKind, ...] = get_args(TransportKind)
#: The default; a handler may declare an equal set, and that is another object.
_ANY_TRANSPORT: frozenset[TransportKind] = frozenset(_KINDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyTraits:
    """What a concurrency strategy declares: ``traits = StrategyTraits(drives={"protocol"})``.

    ``drives``           the styles of handlers that it runs without a bridge; see plugport.bridges for the
                         form in which it gets them
    ``isolates_memory``  each request has a copy of the memory: what a handler changes there, no other sees
    ``parallel``         the styles whose requests run at the same time in threads; True for all
    ``serial``           one request after the other: a slow client keeps all others waiting
    ``shares_thread``    blocking requests take turns in one thread, so that none may hold it
    ``secures``          the styles whose connections it puts through TLS itself, by an event loop that can

    Raises TypeError for an unknown trait, ValueError for an unknown style and for a flag that is no bool.
    """

    drives: Collection[Style] = frozenset({"blocking"})
    isolates_memory: bool = False
    parallel: Collection[Style] | bool = False
    serial: bool = False
    shares_thread: bool = False
    secures: Collection[Style] = frozenset()

    def __post_init__(self) -> None:
        for flag in ("isolates_memory", "serial", "shares_thread"):
            if not isinstance(getattr(self, flag), bool):
                raise ValueError(f"{flag} must be True or False, not {getattr(self, flag)!r}")
        parallel = self.parallel
        if isinstance(parallel, bool):
            parallel = STYLES if parallel else ()
        for name, styles in (("drives", self.drives), ("parallel", parallel), ("secures", self.secures)):
            object.__setattr__(self, name, _styles(name, styles))
        if not self.drives:
            raise ValueError("drives: a strategy drives at least one style")

    def runs_in_threads(self, style: Style) -> bool:
        """Return whether requests of handlers of *style* run at the same time, in threads."""
        return not isinstance(self.parallel, bool) and style in self.parallel


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerTraits:
    """What a server declares: ``traits = ServerTraits(secure=True)``.

    ``secure``           its connections go through TLS: tls_context() returns the context for each
    ``has_threads``      it runs threads of its own, so that its process must not fork
    ``shares_requests``  other processes take requests from the same source, each with a memory of its own

    Raises TypeError for an unknown trait, ValueError for a value that is no bool.
    """

    secure: bool = False
    has_threads: bool = False
    shares_requests: bool = False

    def __post_init__(self) -> None:
        for flag in ("secure", "has_threads", "shares_requests"):
            if not isinstance(getattr(self, flag), bool):
                raise ValueError(f"{flag} must be True or False, not {getattr(self, flag)!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class HandlerTraits:
    """What a handler declares, by class attributes of these names or by ``traits = HandlerTraits(...)``.

    ``style``             the style, where its base class does not tell
    ``transports``        what it serves: "stream", "datagram" or both
    ``shared_state``      it keeps state in memory that all requests must see
    ``thread_safe``       that state is guarded, by ``server.lock`` for example
    ``needs_thread``      it waits for more than its connection, a program for example: it can't live in the
                          one thread of a loop
    ``needs_descriptor``  it gives the descriptor of its connection away, to a program for example: it can't
                          serve where TLS lies above that
    ``alpn_protocols``    the protocols that it speaks, by their names in ALPN (RFC 7301), the preferred first
    ``as_protocol``       class method: (context) -> a protocol that does the same work where requests live in
                          a loop, in place of a greenlet
    ``for_request``       class method: (context) -> the protocol of that request, in place of a call without
                          arguments
    ``serving``           class method: (servers) -> an async context manager around their serving
    """

    style: Style | None = None
    transports: Collection[TransportKind] = _ANY_TRANSPORT
    shared_state: bool = False
    thread_safe: bool = False
    needs_thread: bool = False
    needs_descriptor: bool = False
    alpn_protocols: tuple[str, ...] = ()
    as_protocol: Callable[[Any], Any] | None = None
    for_request: Callable[[Any], Any] | None = None
    serving: Callable[[Any], AbstractAsyncContextManager[object]] | None = None

    def __post_init__(self) -> None:
        transports = frozenset(self.transports)
        if not transports or not transports <= set(_KINDS):
            raise ValueError(f"transports must be of {_listed(_KINDS)}, not {_listed(self.transports)}")
        object.__setattr__(self, "transports", transports)


def _styles(name: str, styles: Collection[Style]) -> frozenset[Style]:
    if isinstance(styles, str) or not isinstance(styles, Collection):
        raise ValueError(f"{name} must be a set of styles, of {_listed(STYLES)}, not {styles!r}")
    unknown = set(styles) - set(STYLES)
    if unknown:
        raise ValueError(f"{name}: {_listed(unknown)} is no style; the styles are {_listed(STYLES)}")
    return frozenset(styles)


def _listed(names: Collection[object]) -> str:
    return ", ".join(sorted(map(repr, names)))


# Reading --------------------------------------------------------------------------------------

_Traits = TypeVar("_Traits", StrategyTraits, ServerTraits)

#: Kinds of values that a trait may have; what else has a similar name is no misspelt trait.
_PLAIN = (bool, frozenset, set, tuple)
#: Other words for traits of strategies.
_SYNONYMS = {"styles": "drives", "multithreaded": "parallel"}
#: The methods of a server that a strategy overrides.
_SCHEDULING = {"process_request", "serve_forever", "serve_together"}
#: The attribute that declares traits, and those in which a server class has them for its own use.
_READ_FROM = ("traits", "strategy_traits", "server_traits")


def strategy_traits(target: type) -> StrategyTraits:
    """Return the traits of a strategy, or of a server class that a strategy was put before.

    A subclass that declares traits declares all of them: nothing is inherited from those of a base class.
    The mix-ins of the standard library's socketserver have theirs, though they declare none.
    """
    for base in target.__mro__:
        found = _declared(base, StrategyTraits) or _foreign_traits(base)
        if found is not None:
            return found
    return StrategyTraits()


def has_strategy_traits(base: type) -> bool:
    """Return whether *base* itself, and not only a base class of it, declares the traits of a strategy."""
    return _declared(base, StrategyTraits) is not None or _foreign_traits(base) is not None


def is_strategy(base: type) -> bool:
    """Return whether *base* itself makes a class that comes before a server class a concurrency strategy.

    So do the traits of one, and an override of process_request(), serve_forever() or serve_together().
    """
    return has_strategy_traits(base) or bool(vars(base).keys() & _SCHEDULING)


def server_traits(target: type) -> ServerTraits:
    """Return the traits of a server class: those that it or any base class declares to be True."""
    declared = [found for base in target.__mro__ if (found := _declared(base, ServerTraits)) is not None]
    names = [field.name for field in fields(ServerTraits)]
    return ServerTraits(**{name: any(getattr(each, name) for each in declared) for name in names})


def check_traits(target: type) -> None:
    """Look for misspelt traits of a strategy or a server class: attributes that look like a trait of theirs.

    Raises TargetError.
    """
    kinds = {field.name: kind for kind in (StrategyTraits, ServerTraits) for field in fields(kind)}
    for base in target.__mro__:
        for name, value in vars(base).items():
            if isinstance(value, (StrategyTraits, ServerTraits)) and name not in _READ_FROM:
                raise TargetError(f"{base.__name__}.{name} is not read; name it 'traits'")
            if name == "traits" and not isinstance(value, (StrategyTraits, ServerTraits)):
                raise TargetError(
                    f"{base.__name__}.traits is {value!r}; declare StrategyTraits(...) of a strategy, "
                    "ServerTraits(...) of a server"
                )
            near = _near_miss(base, name, value, kinds)
            if near is not None:
                kind = kinds[near].__name__
                raise TargetError(
                    f"{base.__name__}.{name} is no trait; declare traits = {kind}({near}={value!r})"
                )


def _near_miss(base: type, name: str, value: object, known: Collection[str]) -> str | None:
    """Return the trait that the attribute *name* of *base* was probably meant for; None if there is none."""
    if name.startswith("_") or not isinstance(value, _PLAIN):
        return None
    if name in known:
        return name
    if _SYNONYMS.get(name) in known:
        return _SYNONYMS[name]
    if "ClassVar" not in str(vars(base).get("__annotations__", {}).get(name, "ClassVar")):
        return None  # annotated: an option
    # A cheap filter first: the same beginning, and all letters but one.
    alike = [
        each
        for each in known
        if each[0] == name[0] and sum(letter in each for letter in name) >= max(len(each), len(name)) - 1
    ]
    if not alike:
        return None
    from difflib import get_close_matches  # late: needed when something may be wrong

    return next(iter(get_close_matches(name, alike, 1, 0.8)), None)


def _declared(base: type, kind: type[_Traits]) -> _Traits | None:
    declared = vars(base).get("traits")
    return declared if isinstance(declared, kind) else None


def _foreign_traits(base: type) -> StrategyTraits | None:
    module = sys.modules.get("socketserver")  # not imported: no class can derive from it
    if base is getattr(module, "ThreadingMixIn", None):
        return StrategyTraits(parallel=True)
    if base is getattr(module, "ForkingMixIn", None):
        return StrategyTraits(isolates_memory=True)
    return None


# Handlers -------------------------------------------------------------------------------------


def unwrapped(handler: Any) -> Any:
    """Return the class or function inside functools.partial, which has the attributes."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return handler


def handler_traits(handler: object) -> HandlerTraits:
    """Return what *handler* declares, and where it does not, what its base class or its arguments tell.

    Raises TargetError for a trait with a value of the wrong kind.
    """
    inner = unwrapped(handler)
    found = {
        field.name: value
        for field in fields(HandlerTraits)
        if field.name != "style" and (value := getattr(inner, field.name, None)) is not None
    }
    declared = getattr(inner, "traits", None)
    if isinstance(declared, HandlerTraits):
        found |= {
            field.name: value
            for field in fields(HandlerTraits)
            if (value := getattr(declared, field.name)) is not field.default
        }
    if "style" not in found and getattr(inner, "style", None) in STYLES:
        found["style"] = inner.style
    if "transports" not in found:
        found["transports"] = _evident_transports(inner)
    for name in ("as_protocol", "for_request", "serving"):
        if name in found and not callable(found[name]):
            raise TargetError(f"{inner!r}: {name} must be a class method, not {found[name]!r}")
    if isinstance(found["transports"], str):
        raise TargetError(f"{inner!r}: transports must be a set, as {{{found['transports']!r}}}")
    try:
        return HandlerTraits(**found)
    except (TypeError, ValueError) as error:
        raise TargetError(f"{inner!r}: {error}") from None


def handler_warnings(handler: object) -> list[str]:
    """Return a line for each attribute of a handler class that resembles a trait and is none."""
    inner = unwrapped(handler)
    if not isinstance(inner, type):
        return []
    names = frozenset(field.name for field in fields(HandlerTraits))
    return [
        f"{base.__name__}.{name} is no trait of handlers; did you mean {near!r}?"
        for base in inner.__mro__
        for name, value in vars(base).items()
        if name not in names and (near := _near_miss(base, name, value, names)) is not None
    ]


def _evident_transports(inner: object) -> Collection[str]:
    """Return the transports that follow from the names of arguments, or from the standard library's class."""
    if inspect.iscoroutinefunction(inner):
        names = list(inspect.signature(inner).parameters)[-2:]
        if names == ["reader", "writer"]:
            return {"stream"}
        if names[-1] == "reply":
            return {"datagram"}
    for module, name, transport in (
        ("socketserver", "StreamRequestHandler", "stream"),
        ("socketserver", "DatagramRequestHandler", "datagram"),
        ("asyncio.protocols", "Protocol", "stream"),
        ("asyncio.protocols", "BufferedProtocol", "stream"),
        ("asyncio.protocols", "DatagramProtocol", "datagram"),
    ):
        if is_subclass_of(inner, module, name):
            return {transport}
    return _KINDS


def is_subclass_of(target: object, module: str, name: str) -> bool:
    """Return whether *target* derives from a class of a module that need not be imported."""
    # A module that is not imported has no subclasses, and importing asyncio takes its time.
    base = getattr(sys.modules.get(module), name, None)
    return isinstance(target, type) and isinstance(base, type) and issubclass(target, base)
