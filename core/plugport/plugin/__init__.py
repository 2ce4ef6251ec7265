"""The hook specifications, the plugins that implement them, and the registry of their components."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugport.plugin.distributions import canonical_name, entry_points, installed_version, requirements_of
    from plugport.plugin.manager import PluginRecord, Plugins, Registration, load_plugins
    from plugport.plugin.records import HookRecord, hook_records
    from plugport.plugin.registry import Entry, Registry, default_registry
    from plugport.plugin.specs import HOOKS, hookimpl
    from plugport.plugin.targets import resolve_target
else:
    from plugport._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "plugport.plugin.distributions": (
                "canonical_name",
                "entry_points",
                "installed_version",
                "requirements_of",
            ),
            "plugport.plugin.manager": (
                "PluginRecord",
                "Plugins",
                "Registration",
                "load_plugins",
            ),
            "plugport.plugin.records": (
                "HookRecord",
                "hook_records",
            ),
            "plugport.plugin.registry": (
                "Entry",
                "Registry",
                "default_registry",
            ),
            "plugport.plugin.specs": (
                "HOOKS",
                "hookimpl",
            ),
            "plugport.plugin.targets": ("resolve_target",),
        },
    )

__all__ = [
    "HOOKS",
    "Entry",
    "HookRecord",
    "PluginRecord",
    "Plugins",
    "Registration",
    "Registry",
    "canonical_name",
    "default_registry",
    "entry_points",
    "hook_records",
    "hookimpl",
    "installed_version",
    "load_plugins",
    "requirements_of",
    "resolve_target",
]
