"""A plugin made of another's hookimpls, each behind a function that guards or traces it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Protocol

import pluggy

from plugport.plugin.specs import hookimpl

__all__ = ["HookFunction", "Wrap", "wrapped"]

HookFunction = Callable[..., object]


class Wrap(Protocol):
    """A function that puts something around hookimpls."""

    def __call__(self, hook: str, plugin: str, function: HookFunction, *, is_wrapper: bool) -> HookFunction:
        """Return what is called in place of *function*, or *function* itself.

        *hook* is its name with the prefix, *plugin* that of the plugin. *is_wrapper* says whether *function*
        is a hook wrapper, of pluggy's old or new kind: a generator function around the calls of the others.
        """


class _WrappedPlugin(SimpleNamespace):
    # pluggy refuses a plugin that equals another, as two namespaces without hookimpls do.
    def __eq__(self, other: object) -> bool:
        return self is other


def wrapped(manager: pluggy.PluginManager, plugin: object, name: str, wrap: Wrap) -> object:
    """Return a plugin with the hookimpls of *plugin*, whose name is *name*, each behind what *wrap* returns.

    Their options stay: the order, the name of the specification, whether they are wrappers. The function must
    have the signature of the hookimpl, as functools.wraps() gives it.
    """
    hookimpls = {}
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is None:
            continue
        hook = options.get("specname") or attribute
        is_wrapper = bool(options.get("wrapper") or options.get("hookwrapper"))
        function = getattr(plugin, attribute)
        wrapper = wrap(hook, name, function, is_wrapper=is_wrapper)
        hookimpls[attribute] = function if wrapper is function else hookimpl(**options)(wrapper)
    return _WrappedPlugin(**hookimpls)
