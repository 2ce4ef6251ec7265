"""Session: the state of one run of the command line; each part is made when it is first used."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING

from plugport.cli.commands import RESERVED
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

    @cached_property
    def plugins(self) -> Plugins:
        """The plugins; one whose commands are refused has failed. Raises what load_plugins() raises."""
        return self._plugins_with_commands[0]

    @cached_property
    def plugin_commands(self) -> dict[str, click.Command]:
        """The commands that plugins add to the core's, by name."""
        return self._plugins_with_commands[1]

    @cached_property
    def _plugins_with_commands(self) -> tuple[Plugins, dict[str, click.Command]]:
        plugins = load_plugins(self.disable, strict=self.strict)
        return plugins, plugins.commands(RESERVED)

    @cached_property
    def registry(self) -> Registry:
        """The components of the plugins."""
        return Registry(self.plugins)


def warn(message: str) -> None:
    """Print a warning, one line on standard error."""
    print(f"plugport: warning: {message}", file=sys.stderr)
