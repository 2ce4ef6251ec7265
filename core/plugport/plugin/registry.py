"""The registry: the components that plugins register, looked up and loaded by name.

A listing imports no target of a component; load() does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from plugport.contracts.component import KINDS, Kind
from plugport.contracts.wording import nearest, one_of
from plugport.errors import (
    AmbiguousNameError,
    PluginError,
    RegistryError,
    TargetError,
    UnavailableError,
    UnknownNameError,
)
from plugport.plugin.distributions import canonical_name, satisfies
from plugport.plugin.manager import Plugins, Registration, load_plugins
from plugport.plugin.specs import HOOKS

if TYPE_CHECKING:
    from plugport.contracts.hints import Hints

__all__ = ["Entry", "Registry", "Status", "default_registry", "listing_of"]

#: The order in which a class is tried. A mix-in can be any class, so it comes last.
_NARROWEST_FIRST: tuple[Kind, ...] = ("server", "framing", "handler", "concurrency")

Status = Literal["available", "unavailable", "shadowed", "conflict"]


class Entry(NamedTuple):
    """A component as it is listed.

    ``distribution`` and ``version`` are "" for an import string or a file, which no plugin registers.
    ``reason`` says why the status is not "available", and is "" if it is. ``obstacle`` says why the
    component can't be used under any name, and is "" if it can.
    """

    kind: Kind
    name: str
    target: object
    summary: str = ""
    distribution: str = ""
    version: str = ""
    origin: Literal["built-in", "third-party"] = "third-party"
    status: Status = "available"
    reason: str = ""
    obstacle: str = ""

    @property
    def qualified_name(self) -> str:
        """``distribution:name``."""
        return f"{self.distribution}:{self.name}" if self.distribution else self.name

    @property
    def selector(self) -> str:
        """The shortest name that selects it: the bare one, unless that selects another component."""
        return self.qualified_name if self.status in ("shadowed", "conflict") else self.name


class Registry:
    """The components of *plugins*, looked up and loaded by name."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        self._entries: dict[Kind, list[Entry]] = {kind: [] for kind in KINDS}
        self._by_name: dict[tuple[Kind, str], list[Entry]] = {}
        same_name: dict[tuple[Kind, str], list[Registration]] = {}
        for found in plugins.registrations:
            same_name.setdefault((found.kind, found.component.name), []).append(found)
        for found in plugins.registrations:
            key = (found.kind, found.component.name)
            entry = _entry(found, [other for other in same_name[key] if other is not found])
            self._entries[found.kind].append(entry)
            self._by_name.setdefault(key, []).append(entry)

    def entries(self, kind: Kind | None = None) -> Iterator[Entry]:
        """Yield the components of one *kind*, or of all. Imports no target."""
        for each in KINDS if kind is None else (kind,):
            yield from self._entries[each]

    def find(self, kind: Kind, text: str) -> Entry:
        """Look up *text*: a name, ``distribution:name``, an import string, or ``file.py:attribute``.

        Imports the target of an import string or a file, and nothing else. Raises UnknownNameError,
        AmbiguousNameError, PluginError if a failed plugin registers the name, TargetError.
        """
        distribution, colon, name = text.rpartition(":")
        if not colon:
            return self._find_bare(kind, text)
        wanted = canonical_name(distribution)
        for entry in self._by_name.get((kind, name), ()):
            if canonical_name(entry.distribution) == wanted:
                return entry
        return _ad_hoc(kind, text, self._import(kind, text))

    def find_all(self, text: str, kind: Kind | None = None) -> list[Entry]:
        """Look up *text* among the components of one *kind*, or of all, with the shadowed ones.

        Raises the same errors as find(), without AmbiguousNameError.
        """
        distribution, colon, name = text.rpartition(":")
        wanted = canonical_name(distribution)
        found = [
            entry
            for each in (KINDS if kind is None else (kind,))
            for entry in self._by_name.get((each, name), ())
            if not colon or canonical_name(entry.distribution) == wanted
        ]
        if found:
            return found
        if not colon:
            raise self._unknown(kind, text)
        target = self._import(kind, text)
        failures: dict[Kind, TargetError] = {}
        for each in _NARROWEST_FIRST if kind is None else (kind,):
            entry = _ad_hoc(each, text, target)
            try:
                self.load(entry)
            except TargetError as error:
                failures[each] = error
            else:
                return [entry]
        if kind is None and not callable(target):
            raise TargetError(
                f"{text!r} is neither a server, a handler, a framing nor a concurrency strategy"
            )
        raise failures[kind or "handler"]  # a callable that is no class can only be a handler

    def load(self, entry: Entry) -> Any:
        """Import the target of *entry*, and check that it is of the entry's kind.

        Raises UnavailableError if the platform lacks something or a requirement is missing, TargetError.
        """
        if entry.obstacle:
            raise UnavailableError(f"{entry.kind} {entry.name!r} is unavailable: {entry.obstacle}")
        target = entry.target
        try:
            if isinstance(target, str):
                target = _resolve(target)
            _check_kind(entry.kind, target, self.plugins.hints)
        except TargetError as error:
            raise TargetError(f"{entry.kind} {entry.name!r}: {error}") from error
        return target

    def get(self, kind: Kind, text: str) -> Any:
        """Find a component and load it."""
        return self.load(self.find(kind, text))

    def _import(self, kind: Kind | None, text: str) -> object:
        scheme, slashes, _ = text.partition("://")
        if slashes:
            raise TargetError(
                f"{text!r} is a URL, where the name of a {kind or 'component'} belongs; "
                f"its server is {scheme!r}"
            )
        try:
            return _resolve(text)
        except TargetError as error:
            # It may be meant as a qualified name.
            wanted = canonical_name(text.rpartition(":")[0])
            if any(canonical_name(record.distribution) == wanted for record in self.plugins.records):
                unknown = self._unknown(kind, text)
                raise type(unknown)(f"{unknown}; and as an import string: {error}") from error
            raise

    def _find_bare(self, kind: Kind, name: str) -> Entry:
        entries = self._by_name.get((kind, name), [])
        for entry in entries:
            if entry.status == "conflict":
                names = one_of(repr(other.qualified_name) for other in entries)
                raise AmbiguousNameError(f"several distributions have a {kind} {name!r}; write {names}")
            if entry.status != "shadowed":
                return entry
        raise self._unknown(kind, name)

    def _unknown(self, kind: Kind | None, text: str) -> RegistryError:
        """Return the error for an unknown name. It names similar names, hints and failed plugins.

        Without a *kind* the name may be that of a plugin or a hook, too.
        """
        distribution, _, name = text.rpartition(":")
        what = _what(kind) if kind else "component, plugin or hook"
        for lost in self.plugins.lost:
            record = lost.plugin
            if (
                kind in (None, lost.kind)
                and lost.component.name == name
                and (not distribution or canonical_name(distribution) == canonical_name(record.distribution))
            ):
                return PluginError(f"no {what} {text!r}: {record.inactive_reason}")
        known = {entry.qualified_name if distribution else entry.selector for entry in self.entries(kind)}
        if kind is None:
            for record in self.plugins.records:
                known |= {record.qualified_name} if distribution else {record.name, record.distribution}
            known |= set(HOOKS)
        others = [other for other in KINDS if other != kind and (other, name) in self._by_name]
        hints = self.plugins.hints()
        message = f"no {what} named {text!r}{nearest(text, known)}"
        if others and not distribution:
            message += f"; there is a {one_of(map(_what, others))} of that name"
        elif text.endswith(".py"):
            message += f"; a file needs an attribute too, {text}:NAME"
        elif kind == "server" and text.lower() in hints.schemes:
            message += f"; it is handlers that speak {text}, on {hints.schemes[text.lower()]}://"
        message += "".join(self._offer(hints, each, text) for each in (KINDS if kind is None else (kind,)))
        message += f" ({listing_of(kind)})"
        absent = [record for record in self.plugins.records if record.status != "active"]
        if distribution:
            wanted = canonical_name(distribution)
            absent = [record for record in absent if canonical_name(record.distribution) == wanted]
        message += "".join(f"; {record.inactive_reason}" for record in absent)
        if distribution and any(record.status == "failed" for record in absent):
            return PluginError(message)
        return UnknownNameError(message)

    def _offer(self, hints: Hints, kind: Kind, name: str) -> str:
        """Name the distribution that provides the component, if there is a hint and it is not installed."""
        distribution = hints.components.get((kind, name))
        if distribution is None or any(
            record.distribution == distribution for record in self.plugins.records
        ):
            return ""
        return f"; {distribution} has it: pip install {distribution}"


def _what(kind: Kind) -> str:
    return "concurrency strategy" if kind == "concurrency" else kind


def listing_of(kind: Kind | None) -> str:
    """Return the command that lists the components of *kind*, or everything that has a name."""
    if kind is None:
        return "plugport list [plugins|hooks]"
    return f"plugport list {kind if kind == 'concurrency' else kind + 's'}"


@functools.cache
def default_registry() -> Registry:
    """Return the registry of the installed plugins, which are loaded once."""
    return Registry(load_plugins())


def _entry(found: Registration, same_name: list[Registration]) -> Entry:
    component, plugin = found.component, found.plugin
    obstacle = component.unavailable or _missing(component.requires)
    status: Status = "unavailable" if obstacle else "available"
    reason = obstacle
    qualified = f"{plugin.distribution}:{component.name}"
    if same_name and not plugin.is_builtin:
        if any(other.plugin.is_builtin for other in same_name):
            status, reason = "shadowed", f"the name is a built-in's; use {qualified}"
        else:
            others = ", ".join(other.plugin.distribution for other in same_name)
            status, reason = "conflict", f"{others} has one of this name too; use {qualified}"
    return Entry(
        found.kind,
        component.name,
        component.target,
        component.summary,
        plugin.distribution,
        plugin.version,
        "built-in" if plugin.is_builtin else "third-party",
        status,
        reason,
        obstacle,
    )


def _missing(requires: tuple[str, ...]) -> str:
    missing = [requirement for requirement in requires if not satisfies(requirement)]
    if not missing:
        return ""
    import shlex

    return f"needs {', '.join(missing)}: pip install {shlex.join(missing)}"


def _ad_hoc(kind: Kind, text: str, target: object) -> Entry:
    doc = getattr(target, "__doc__", None) or ""
    return Entry(kind, text, target, doc.strip().partition("\n")[0])


def _resolve(text: str) -> object:
    from plugport.plugin.targets import resolve_target  # late: a listing resolves nothing

    return resolve_target(text)


def _check_kind(kind: Kind, target: object, hints: Callable[[], Hints]) -> None:
    from plugport.contracts.traits import check_traits, handler_traits, is_strategy
    from plugport.handlers.styles import style_of
    from plugport.serving.adoption import is_server  # late: a listing needs no servers

    if kind == "handler":
        style_of(target, hints)
        handler_traits(target)
        return
    if kind == "framing":
        from plugport.handlers.framing import check_framing
        from plugport.handlers.messages import MessageHandler

        check_framing(target, MessageHandler)
        return
    if kind == "server":
        if not isinstance(target, type) or not is_server(target):
            raise TargetError(f"{target!r} is no server: it does not derive from BaseServer")
    elif not isinstance(target, type) or is_server(target):
        raise TargetError(f"{target!r} is no concurrency strategy: a strategy is a mix-in class")
    elif not any(is_strategy(base) for base in target.__mro__):
        check_traits(target)  # a misspelt one says more
        raise TargetError(
            f"{target!r} is no concurrency strategy: it declares no traits, and overrides neither "
            "process_request() nor serve_forever()"
        )
    check_traits(target)
