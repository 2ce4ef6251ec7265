"""Plugins: found through entry points, imported, validated, and their registrations collected.

A thin façade over pluggy. Names are looked up in :mod:`plugport.plugin.registry`. Exceptions of
hookimpls are caught in :mod:`plugport.plugin.guards`.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import pluggy

from plugport.contracts.component import PARTS, Component, Kind
from plugport.contracts.wording import describe_error, nearest
from plugport.errors import PluginError, PlugportError, UnknownNameError
from plugport.plugin import specs as hookspecs
from plugport.plugin.distributions import EntryPoint, canonical_name, entry_points
from plugport.plugin.hookimpls import wrapped
from plugport.plugin.validation import (
    COMMANDS_HOOK,
    DOCTOR_HOOK,
    HINTS_HOOK,
    PER_PLUGIN_HOOKS,
    PREFIX,
    REGISTER_HOOKS,
    SERVICE_HOOK,
    commands_of,
    components_of,
    hints_of,
    validate_hookimpl,
)

if TYPE_CHECKING:
    import click

    from plugport.contracts.hints import Hints
    from plugport.contracts.hooks import ServerHooks
    from plugport.contracts.registry import ComponentRegistry
    from plugport.plugin.hookimpls import Wrap
    from plugport.plugin.tracing import HookTrace
    from plugport.serving.url import Url

__all__ = ["PluginRecord", "Plugins", "Registration", "load_plugins"]


@dataclass
class PluginRecord:
    """One plugin as it is listed.

    ``name`` is the name of its entry point, and ``module`` the module that this names. ``error`` is
    one line, "" unless the plugin failed. ``hooks`` are the hooks that it implements, without their
    prefix; ``commands`` are the names of the commands that it adds.
    """

    name: str
    distribution: str
    version: str
    status: Literal["active", "disabled", "failed"] = "active"
    error: str = ""
    hooks: tuple[str, ...] = ()
    module: str = ""
    commands: tuple[str, ...] = ()

    @property
    def qualified_name(self) -> str:
        """The name with the prefix of its distribution: ``distribution:name``."""
        return f"{self.distribution}:{self.name}"

    @property
    def is_builtin(self) -> bool:
        """Whether it is shipped with plugport."""
        return canonical_name(self.distribution) == "plugport"

    @property
    def inactive_reason(self) -> str:
        """Why the plugin is not active, as a clause of an error message."""
        what = f"plugin {self.name!r} of {self.distribution}"
        return f"{what} failed: {self.error}" if self.status == "failed" else f"{what} is disabled"

    def answers_to(self, name: str) -> bool:
        """Whether *name* is that of its entry point, of its distribution, or ``distribution:name``."""
        distribution, _, entry = name.rpartition(":")
        if distribution:
            return entry == self.name and canonical_name(distribution) == canonical_name(self.distribution)
        return name == self.name or canonical_name(name) == canonical_name(self.distribution)


class Registration(NamedTuple):
    """A component, and the plugin that registered it."""

    kind: Kind
    component: Component
    plugin: PluginRecord


class Plugins:
    """The plugins of this process, what they register, and their hooks. Made by load_plugins()."""

    def __init__(self, *, strict: bool = False, trace: "HookTrace | None" = None) -> None:
        self.strict = strict
        self.trace = trace
        self.records: list[PluginRecord] = []
        #: What the active plugins registered, in the order of ``records``.
        self.registrations: list[Registration] = []
        #: What failed plugins had registered before they failed.
        self.lost: list[Registration] = []
        self.manager = self._new_manager()

    def add(self, plugin: object, record: PluginRecord) -> None:
        """Validate *plugin*, register its hookimpls and its components. Quarantined if it fails."""
        self.records.append(record)
        self._attempt(record, lambda: self._register(plugin, record))

    def load(self, entry_point: EntryPoint, record: PluginRecord) -> None:
        """Import the plugin that *entry_point* names, and add() it. Quarantined if it fails."""
        self.records.append(record)
        self._attempt(record, lambda: self._register(entry_point.load(), record))

    def commands(self, reserved: Collection[str] = ()) -> "dict[str, click.Command]":
        """Return the commands that the plugins add, by name, in the order of ``records``.

        A plugin that raises, or whose command has a *reserved* name or that of another plugin's, is
        quarantined: none of its commands is added.
        """
        commands: dict[str, click.Command] = {}
        for record in self.records:
            for impl in self._hookimpls(COMMANDS_HOOK, record):
                self._attempt(record, partial(self._add_commands, record, impl.function, commands, reserved))
        return commands

    def _add_commands(
        self,
        record: PluginRecord,
        function: Callable[[], object],
        commands: "dict[str, click.Command]",
        reserved: Collection[str],
    ) -> None:
        added: dict[str, click.Command] = {}
        for command in commands_of(function):
            name = command.name or ""
            if name in reserved:
                raise PluginError(f"adds the command {name!r}, a name that is taken: it is plugport's own")
            if name in commands:
                owner = next(each for each in self.records if name in each.commands)
                raise PluginError(
                    f"adds the command {name!r}, a name that is taken: it is of plugin {owner.qualified_name}"
                )
            if name in added:
                raise PluginError(f"adds the command {name!r} twice")
            added[name] = command
        commands.update(added)
        record.commands = tuple(added)

    def examinations(
        self, urls: "tuple[Url, ...]", registry: "ComponentRegistry"
    ) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield the active plugins that implement the hook ``doctor``: the qualified name, and a call.

        The call returns what the hookimpl finds in *registry*, for a service on *urls*. It may raise.
        """
        arguments = {"urls": urls, "registry": registry}
        for record in self.records:
            for impl in self._hookimpls(DOCTOR_HOOK, record):
                wanted = [arguments[name] for name in impl.argnames]
                yield record.qualified_name, partial(impl.function, *wanted)

    def hints(self) -> "Hints":
        """Return the hints of the active plugins. A plugin that raises is quarantined."""
        from plugport.contracts.hints import Hints  # late: only an error needs them

        found: list[Hints] = []
        for record in self.records:
            for impl in self._hookimpls(HINTS_HOOK, record):
                self._attempt(record, partial(_add_hints, found, impl.function))
        return Hints.merged(found)

    def has_service_plugin(self, record: PluginRecord) -> bool:
        """Whether the plugin of *record* has a class that is made for each service. Imports nothing."""
        return bool(self._hookimpls(SERVICE_HOOK, record))

    def service_plugin(self, record: PluginRecord) -> type:
        """Import and return the class that the plugin of *record* makes for each service.

        Raises PluginError if that fails.
        """
        (impl,) = self._hookimpls(SERVICE_HOOK, record)
        try:
            target = impl.function()
        except (Exception, SystemExit) as error:
            raise _failure(record, describe_error(error)) from error
        if not isinstance(target, type):
            raise _failure(record, f"{SERVICE_HOOK} returned {target!r}, which is no class")
        return target

    def server_hooks(self, members: Mapping[str, Mapping[str, object]] | None = None) -> "ServerHooks":
        """Return the run-time hooks of the active plugins, for the servers of one service.

        The service plugins are made here. *members* are their options, by the qualified names of their
        plugins: see :mod:`plugport.combination.plugin_options`. A traced hook is called although no
        plugin implements it.

        Raises OptionError, any PlugportError that a service plugin raises, and PluginError for other
        exceptions: a service does not run without its plugins.
        """
        from plugport.contracts.hooks import SERVER_HOOKS
        from plugport.plugin.guards import guard, server_hooks  # late: a listing calls no hooks

        traced = frozenset() if self.trace is None else self.trace.hooks
        made = {
            record.qualified_name: self._make_service_plugin(record, members or {})
            for record in self.records
            if self.has_service_plugin(record)
        }
        is_implemented = any(
            getattr(self.manager.hook, PREFIX + name).get_hookimpls() for name in SERVER_HOOKS
        )
        if not (made or traced or is_implemented):
            return server_hooks(self.manager)
        manager = self._new_manager()
        for record in self.records:
            if record.status == "active":
                name = record.qualified_name
                # Its hookimpls are traced already, if they are.
                manager.register(wrapped(manager, self.manager.get_plugin(name), name, guard), name)
                if name in made:
                    self._admit_service_plugin(manager, record, made[name], guard)
        return server_hooks(manager, traced)

    def _admit_service_plugin(
        self, manager: pluggy.PluginManager, record: PluginRecord, plugin: object, guard: "Wrap"
    ) -> None:
        name = f"{record.qualified_name}.{type(plugin).__name__}"
        try:
            for caller in self._admit(manager, plugin, name, guard):
                if caller.name in PER_PLUGIN_HOOKS:
                    reason = "in the class of its service plugin, where it is never called"
                    raise PluginError(f"implements {caller.name} {reason}")
        except (PluginError, pluggy.PluginValidationError) as error:
            raise _failure(record, str(error)) from error

    def _make_service_plugin(
        self, record: PluginRecord, members: Mapping[str, Mapping[str, object]]
    ) -> object:
        from plugport.contracts.members import configure

        target = configure(self.service_plugin(record), members.get(record.qualified_name, {}))
        try:
            return target()
        except PlugportError:
            raise
        except (Exception, SystemExit) as error:
            raise _failure(record, describe_error(error)) from error

    def failed(self) -> list[PluginRecord]:
        """Return the plugins that failed, and are quarantined."""
        return [record for record in self.records if record.status == "failed"]

    def _attempt(self, record: PluginRecord, action: Callable[[], None]) -> None:
        try:
            action()
        except (Exception, SystemExit) as error:
            self._quarantine(record, error)

    def _quarantine(self, record: PluginRecord, error: BaseException) -> None:
        record.status = "failed"
        record.error = str(error) if isinstance(error, PluginError) else describe_error(error)
        record.hooks = record.commands = ()
        if self.manager.has_plugin(record.qualified_name):
            self.manager.unregister(name=record.qualified_name)
        self.lost += [found for found in self.registrations if found.plugin is record]
        self.registrations = [found for found in self.registrations if found.plugin is not record]
        if self.strict:
            raise PluginError(
                f"plugin {record.name!r} of {record.distribution} failed: {record.error}"
            ) from error

    def _new_manager(self) -> pluggy.PluginManager:
        manager = pluggy.PluginManager("plugport")
        manager.add_hookspecs(hookspecs)
        if self.trace is not None:
            self.trace.attach(manager)
        return manager

    def _admit(
        self, manager: pluggy.PluginManager, plugin: object, name: str, wrap: "Wrap | None" = None
    ) -> list[pluggy.HookCaller]:
        """Register the hookimpls of *plugin*, behind *wrap* and a trace, and validate them."""
        if self.trace is not None:
            plugin = wrapped(manager, plugin, name, self.trace.traced)
        if wrap is not None:
            plugin = wrapped(manager, plugin, name, wrap)
        manager.register(plugin, name)
        callers = manager.get_hookcallers(plugin) or []
        for caller in callers:
            for impl in caller.get_hookimpls():
                if impl.plugin_name == name:
                    validate_hookimpl(caller, impl)
        return callers

    def _register(self, plugin: object, record: PluginRecord) -> None:
        callers = self._admit(self.manager, plugin, record.qualified_name)
        if record.name in PARTS and self.has_service_plugin(record):
            raise PluginError(
                f"its options would begin with {record.name + '.'!r}, as those of a combination do; "
                "its entry point must have another name"
            )
        record.hooks = tuple(
            sorted(caller.name.removeprefix(PREFIX) for caller in callers if caller.has_spec())
        )
        for hook, kind in REGISTER_HOOKS.items():
            for impl in self._hookimpls(hook, record):
                for component in components_of(hook, impl.function):
                    self._add_component(Registration(kind, component, record))

    def _add_component(self, new: Registration) -> None:
        self.registrations.append(new)
        key = (new.kind, new.component.name, new.plugin.distribution)
        for old in self.registrations[:-1]:
            if (old.kind, old.component.name, old.plugin.distribution) == key:
                raise PluginError(
                    f"registers the {new.kind} {new.component.name!r}, which its distribution has already"
                )

    def _hookimpls(self, hook: str, record: PluginRecord) -> list[pluggy.HookImpl]:
        impls = getattr(self.manager.hook, hook).get_hookimpls()
        return [impl for impl in impls if impl.plugin_name == record.qualified_name]


def _add_hints(found: "list[Hints]", function: Callable[[], object]) -> None:
    found.append(hints_of(function))


def _failure(record: PluginRecord, reason: str) -> PluginError:
    return PluginError(
        f"plugin {record.name!r} of {record.distribution} failed: {reason}; "
        f"--disable-plugin {record.name} does without it"
    )


def load_plugins(disable: Iterable[str] = (), *, strict: bool = False) -> Plugins:
    """Find and load the plugins of all installed distributions.

    plugport's own come first, the others follow by normalised distribution name and entry point name.
    *disable* names plugins that are not imported: by entry point, by distribution, or
    ``distribution:name``; so does PLUGPORT_DISABLE of the environment, separated by commas. Hooks are
    traced as PLUGPORT_TRACE says: see plugport.plugin.tracing.

    Raises UnknownNameError if no plugin has a name to disable; with *strict* PluginError if a plugin
    fails.
    """
    plugins = Plugins(strict=strict, trace=_trace())
    found = [
        (point, PluginRecord(point.name, point.distribution, point.version, module=point.found.value))
        for point in entry_points("plugport")
    ]
    for name in _names(disable):
        matches = [record for _, record in found if record.answers_to(name)]
        if not matches:
            known = {known for _, record in found for known in (record.name, record.distribution)}
            raise UnknownNameError(
                f"no plugin named {name!r} to disable{nearest(name, known)} (plugport list plugins)"
            )
        for record in matches:
            record.status = "disabled"
    for entry_point, record in found:
        if record.status == "disabled":
            plugins.records.append(record)
        else:
            plugins.load(entry_point, record)
    return plugins


def _trace() -> "HookTrace | None":
    text = os.environ.get("PLUGPORT_TRACE")
    if not text:
        return None
    from plugport.plugin.tracing import HookTrace, hooks_to_trace  # late: only a trace needs it

    hooks = hooks_to_trace(text)
    return HookTrace(hooks) if hooks else None


def _names(disable: Iterable[str]) -> Iterator[str]:
    yield from disable
    for name in os.environ.get("PLUGPORT_DISABLE", "").split(","):
        if name.strip():
            yield name.strip()
