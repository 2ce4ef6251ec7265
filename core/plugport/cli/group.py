"""PlugportGroup: the commands by name, the built-in ones imported when called, plugins' after them."""

from __future__ import annotations

import importlib
from typing import Any

import click

from plugport.cli.session import Session
from plugport.contracts.wording import nearest

__all__ = ["PlugportGroup"]

_COMMANDS = {
    "list": "plugport.cli.listing:list_command",
    "show": "plugport.cli.show:show",
    "check": "plugport.cli.verdicts:check_command",
    "matrix": "plugport.cli.verdicts:matrix_command",
    "doctor": "plugport_tools.doctor.command:doctor",
    "serve": "plugport.cli.serve:serve",
    "new": "plugport_tools.new.command:new",
    "bench": "plugport_tools.bench.command:bench",
    "completion": "plugport.cli.completion:completion",
}


class PlugportGroup(click.Group):
    """The group ``plugport``; its own ``commands`` are those that plugins add."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Begin a run: what plugins add belongs to one run only."""
        self.commands.clear()
        return super().make_context(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        self._load_plugins(ctx)
        return [*_COMMANDS, *sorted(self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None if there is none of that name."""
        place = _COMMANDS.get(cmd_name)
        if place is not None:
            # The plugins are loaded when the command asks for them; they may add to this group then.
            self._session(ctx)
            module, _, attribute = place.partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        self._load_plugins(ctx)
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that *args* begin with; an unknown one is answered with the nearest names."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            hint = nearest(args[0], self.list_commands(ctx))
            failed = "".join(
                f"; plugin {record.name!r} of {record.distribution} failed: {record.error}"
                for record in self._session(ctx).plugins.failed()
            )
            raise click.UsageError(f"no command named {args[0]!r}{hint} (plugport --help){failed}", ctx)
        return super().resolve_command(ctx, args)

    def _session(self, ctx: click.Context) -> Session:
        session = ctx.ensure_object(Session)
        session.group, session.reserved = self, frozenset(_COMMANDS)
        return session

    def _load_plugins(self, ctx: click.Context) -> None:
        self._session(ctx).plugins  # noqa: B018 - registers the commands
