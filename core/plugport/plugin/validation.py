"""Checks of hookimpls and of what the registering ones return. They raise PluginError."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import pluggy

from plugport.contracts.component import Component, Kind
from plugport.contracts.wording import nearest
from plugport.errors import PluginError
from plugport.plugin import specs as hookspecs

if TYPE_CHECKING:
    import click

    from plugport.contracts.hints import Hints

__all__ = [
    "COMMANDS_HOOK",
    "DOCTOR_HOOK",
    "HINTS_HOOK",
    "PER_PLUGIN_HOOKS",
    "PREFIX",
    "REGISTER_HOOKS",
    "SERVICE_HOOK",
    "commands_of",
    "components_of",
    "hints_of",
    "validate_hookimpl",
]

PREFIX = "plugport_"
REGISTER_HOOKS: dict[str, Kind] = {
    "plugport_register_servers": "server",
    "plugport_register_concurrency": "concurrency",
    "plugport_register_handlers": "handler",
    "plugport_register_framings": "framing",
}
COMMANDS_HOOK = "plugport_register_commands"
DOCTOR_HOOK = "plugport_doctor"
HINTS_HOOK = "plugport_register_hints"
SERVICE_HOOK = "plugport_service_plugin"
#: The hooks whose answers belong to one plugin each. They are called in the order of the records.
PER_PLUGIN_HOOKS = frozenset({*REGISTER_HOOKS, COMMANDS_HOOK, DOCTOR_HOOK, HINTS_HOOK, SERVICE_HOOK})


def validate_hookimpl(caller: pluggy.HookCaller, impl: pluggy.HookImpl) -> None:
    """Check what pluggy does not check. Raises PluginError."""
    if not caller.has_spec():
        if impl.optionalhook:
            return
        known = [PREFIX + name for name in hookspecs.HOOKS]
        raise PluginError(f"implements {caller.name!r}, which is no hook{nearest(caller.name, known)}")
    if inspect.iscoroutinefunction(inspect.unwrap(impl.function)):
        raise PluginError(f"{caller.name} is a coroutine function; hooks are called, not awaited")
    if (impl.wrapper or impl.hookwrapper) and caller.name in PER_PLUGIN_HOOKS:
        raise PluginError(f"{caller.name} is a wrapper; the answers of other plugins are not wrapped")


def components_of(hook: str, function: Callable[[], object]) -> Iterator[Component]:
    """Yield the components that *function* returns, which implements *hook*. Raises PluginError."""
    returned = function()
    if not isinstance(returned, Iterable):
        raise PluginError(f"{hook} returned {returned!r}, which is no iterable of Component")
    for component in returned:
        if not isinstance(component, Component):
            raise PluginError(f"{hook} returned {component!r}, which is no Component")
        yield component


def commands_of(function: Callable[[], object]) -> "Iterator[click.Command]":
    """Yield the commands that *function* returns, which implements the hook. Raises PluginError."""
    import click  # late: only the command line has commands

    returned = function()
    if not isinstance(returned, Iterable):
        raise PluginError(f"{COMMANDS_HOOK} returned {returned!r}, which is no iterable of click.Command")
    for command in returned:
        if not isinstance(command, click.Command):
            raise PluginError(f"{COMMANDS_HOOK} returned {command!r}, which is no click.Command")
        if not command.name or command.name.startswith("-"):
            raise PluginError(f"{COMMANDS_HOOK} returned a command of the name {command.name!r}")
        yield command


def hints_of(function: Callable[[], object]) -> "Hints":
    """Return the hints that *function* returns, which implements the hook. Raises PluginError."""
    from plugport.contracts.hints import Hints  # late: only an error needs them

    returned = function()
    if not isinstance(returned, Hints):
        raise PluginError(f"{HINTS_HOOK} returned {returned!r}, which is no Hints")
    return returned
