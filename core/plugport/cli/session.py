"""Session: what one run of the command line knows, each thing made when it is first asked for."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING

from plugport.plugin.manager import Plugins, load_plugins
from plugport.plugin.registry import Registry

if TYPE_CHECKING:
    import click

__all__ = ["Session", "warn"]


class Session:
    """The global options, and the plugins and components under them."""

    def __init__(self) -> None:
        self.debug = False
        self.strict = False
        self.disable: tuple[str, ...] = ()
        #: The command line, to which plugins add commands, and the names that they can't take.
        self.group: click.Group | None = None
        self.reserved: frozenset[str] = frozenset()

    @cached_property
    def plugins(self) -> Plugins:
        """The plugins, their commands added. Raises what load_plugins() raises."""
        plugins = load_plugins(self.disable, strict=self.strict)
        if self.group is not None:
            plugins.register_commands(self.group, self.reserved)
        return plugins

    @cached_property
    def registry(self) -> Registry:
        """The components of the plugins."""
        return Registry(self.plugins)


def warn(message: str) -> None:
    """Print a warning, one line on standard error."""
    print(f"plugport: warning: {message}", file=sys.stderr)
