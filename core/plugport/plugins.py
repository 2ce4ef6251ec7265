"""The plugins: found through entry points, imported, validated, and asked what they register.

A thin façade over pluggy. How names are looked up is in :mod:`plugport.registry`; the guards that
keep a hookimpl from harming a request are in :mod:`plugport.guards`.
"""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pluggy

from plugport import hookspecs
from plugport.component import Component, Kind
from plugport.distributions import EntryPoint, canonical_name, entry_points
from plugport.errors import PluginError, UnknownNameError
from plugport.wording import describe_error, nearest

if TYPE_CHECKING:
    import click

    from plugport.hooks import ServerHooks
    from plugport.tracing import HookTrace
    from plugport.url import Url

__all__ = ["PER_PLUGIN_HOOKS", "PluginRecord", "Plugins", "Registration", "load_plugins"]

_PREFIX = "plugport_"
_REGISTER_HOOKS: dict[str, Kind] = {
    "plugport_register_servers": "server",
    "plugport_register_concurrency": "concurrency",
    "plugport_register_handlers": "handler",
}
_COMMANDS_HOOK = "plugport_register_commands"
_DOCTOR_HOOK = "plugport_doctor"
#: The hooks by which each plugin speaks for itself alone, called in the order of the records.
PER_PLUGIN_HOOKS = frozenset({*_REGISTER_HOOKS, _COMMANDS_HOOK, _DOCTOR_HOOK})


@dataclass
class PluginRecord:
    """One plugin as it is listed.

    ``name`` is that of its entry point, and ``module`` what that names; ``error`` is one line, ""
    unless it failed; ``hooks`` are the hooks it implements, without their prefix; ``commands``
    are what it added to the command line.
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
        """The name with its distribution's before it: ``plugport-example:example``."""
        return f"{self.distribution}:{self.name}"

    @property
    def is_builtin(self) -> bool:
        """Whether it comes with plugport itself."""
        return canonical_name(self.distribution) == "plugport"

    def answers_to(self, name: str) -> bool:
        """Whether *name* is its entry point's, its distribution's, or ``distribution:name``."""
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
        self.manager = pluggy.PluginManager("plugport")
        self.manager.add_hookspecs(hookspecs)
        if trace is not None:
            trace.attach(self.manager)

    def add(self, plugin: object, record: PluginRecord) -> None:
        """Validate *plugin*, register its hookimpls and its components. Quarantined if it fails."""
        self.records.append(record)
        self._attempt(record, lambda: self._register(plugin, record))

    def load(self, entry_point: EntryPoint, record: PluginRecord) -> None:
        """Import the plugin that *entry_point* names, and add() it. Quarantined if it fails."""
        self.records.append(record)
        self._attempt(record, lambda: self._register(entry_point.load(), record))

    def register_commands(self, group: "click.Group", reserved: frozenset[str] = frozenset()) -> None:
        """Have the plugins add commands to *group*, but none of a *reserved* name.

        A plugin that raises, or that wants the name of a command that is there, is quarantined:
        none of its commands is added.
        """
        for record in self.records:
            for impl in self._hookimpls(_COMMANDS_HOOK, record):
                self._attempt(record, partial(_add_commands, record, impl.function, group, reserved))

    def examinations(self, urls: "tuple[Url, ...]") -> Iterator[tuple[str, Callable[[], Any]]]:
        """Yield the active plugins that look for what would go wrong: the qualified name, and a call.

        The call returns what the plugin finds, for a service on *urls*. It may raise.
        """
        arguments = {"urls": urls}
        for record in self.records:
            for impl in self._hookimpls(_DOCTOR_HOOK, record):
                wanted = [arguments[name] for name in impl.argnames]
                yield record.qualified_name, partial(impl.function, *wanted)

    def server_hooks(self) -> "ServerHooks":
        """The run-time hooks of the active plugins, for servers to call.

        Those that are traced are called although nobody implements them: they tell of the
        service's life.
        """
        from plugport.guards import server_hooks  # late: a listing fires no hooks

        return server_hooks(self.manager, frozenset() if self.trace is None else self.trace.hooks)

    def failed(self) -> list[PluginRecord]:
        """The plugins that are in quarantine."""
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

    def _register(self, plugin: object, record: PluginRecord) -> None:
        self.manager.register(plugin, record.qualified_name)
        callers = self.manager.get_hookcallers(plugin) or []
        for caller in callers:
            for impl in self._hookimpls(caller.name, record):
                _validate(caller, impl)
                if self.trace is not None:
                    self.trace.follow(impl, caller.name)
        record.hooks = tuple(
            sorted(caller.name.removeprefix(_PREFIX) for caller in callers if caller.has_spec())
        )
        for hook, kind in _REGISTER_HOOKS.items():
            for impl in self._hookimpls(hook, record):
                for component in _components(hook, impl.function):
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


def load_plugins(disable: Iterable[str] = (), *, strict: bool = False) -> Plugins:
    """Find and load the plugins of all installed distributions.

    The built-ins come first, then by normalised distribution name and entry point name.
    *disable*, and the comma separated PLUGPORT_DISABLE of the environment, name plugins that are
    not imported: by entry point, by distribution, or ``distribution:name``.
    Hooks are traced if PLUGPORT_TRACE says so: see plugport.tracing.
    Raises UnknownNameError if such a name is nobody's; with *strict* PluginError if a plugin fails.
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
    from plugport.tracing import HookTrace, hooks_to_trace  # late: needed when something is wrong

    hooks = hooks_to_trace(text)
    return HookTrace(hooks) if hooks else None


def _names(disable: Iterable[str]) -> Iterator[str]:
    yield from disable
    for name in os.environ.get("PLUGPORT_DISABLE", "").split(","):
        if name.strip():
            yield name.strip()


def _validate(caller: pluggy.HookCaller, impl: pluggy.HookImpl) -> None:
    """Hold a hookimpl to what pluggy does not ask of it."""
    if not caller.has_spec():
        if impl.optionalhook:
            return
        known = [_PREFIX + name for name in hookspecs.HOOKS]
        raise PluginError(f"implements {caller.name!r}, which is no hook{nearest(caller.name, known)}")
    if inspect.iscoroutinefunction(impl.function):
        raise PluginError(f"{caller.name} is a coroutine function; hooks are called, not awaited")
    if (impl.wrapper or impl.hookwrapper) and caller.name in PER_PLUGIN_HOOKS:
        raise PluginError(f"{caller.name} is a wrapper; each plugin speaks for itself alone")


def _components(hook: str, function: Callable[..., Any]) -> Iterator[Component]:
    returned = function()
    if not isinstance(returned, Iterable):
        raise PluginError(f"{hook} returned {returned!r}, which is no iterable of Component")
    for component in returned:
        if not isinstance(component, Component):
            raise PluginError(f"{hook} returned {component!r}, which is no Component")
        yield component


def _add_commands(
    record: PluginRecord, function: Callable[..., Any], group: "click.Group", reserved: frozenset[str]
) -> None:
    import click

    aside = click.Group()
    function(aside)
    taken = sorted(aside.commands.keys() & (reserved | group.commands.keys()))
    if taken:
        raise PluginError(f"adds the command {taken[0]!r}, a name that is taken")
    for name, command in aside.commands.items():
        group.add_command(command, name)
    record.commands = tuple(sorted(aside.commands))
