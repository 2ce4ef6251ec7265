"""HookRecord: a hook as it is listed and shown, with the plugins that implement it."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

from plugport.plugin.manager import Plugins
from plugport.plugin.specs import HOOKS
from plugport.plugin.validation import PER_PLUGIN_HOOKS

__all__ = ["HookRecord", "hook_records"]


class HookRecord(NamedTuple):
    """One hook.

    ``name`` has no prefix. ``signature`` and ``documentation`` are those of the specification.
    ``firstresult`` says whether the first answer that is not None ends the call. ``implementers`` are the
    qualified names of plugins, in the order of their calls.
    """

    name: str
    signature: str
    documentation: str
    firstresult: bool
    implementers: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The first line of the documentation."""
        return self.documentation.partition("\n")[0]

    def answers_to(self, name: str) -> bool:
        """Return whether *name* is the name of the hook, with the prefix or without."""
        return name.removeprefix("plugport_") == self.name


def hook_records(plugins: Plugins) -> list[HookRecord]:
    """Return all hooks, in the order of their specifications."""
    return [_record(plugins, name) for name in HOOKS]


def _record(plugins: Plugins, name: str) -> HookRecord:
    caller = getattr(plugins.manager.hook, f"plugport_{name}")
    if caller.name in PER_PLUGIN_HOOKS:
        implementers = [record.qualified_name for record in plugins.records if name in record.hooks]
    else:  # pluggy lists them in reverse order of their calls
        implementers = [impl.plugin_name for impl in reversed(caller.get_hookimpls())]
    return HookRecord(
        name,
        _signature(caller.spec.function),
        inspect.getdoc(caller.spec.function) or "",
        bool(caller.spec.opts["firstresult"]),
        tuple(implementers),
    )


def _signature(function: Callable[..., object]) -> str:
    # The annotations are texts; str(signature) would put them in quotes.
    signature = inspect.signature(function)
    arguments = ", ".join(f"{each.name}: {each.annotation}" for each in signature.parameters.values())
    return f"{function.__name__}({arguments}) -> {signature.return_annotation}"
