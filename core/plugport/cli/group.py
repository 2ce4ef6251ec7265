"""PlugportGroup: the commands of the core and of the plugins, each imported when it is called."""

from __future__ import annotations

import click

from plugport.cli.commands import FIRST_COMMANDS, LAST_COMMANDS
from plugport.cli.session import Session
from plugport.contracts.wording import nearest

__all__ = ["PlugportGroup"]

_CORE = {command.name: command for command in (*FIRST_COMMANDS, *LAST_COMMANDS)}


class PlugportGroup(click.Group):
    """The group ``plugport``. What plugins add belongs to the session, and so to one run only."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help page."""
        added = ctx.ensure_object(Session).plugin_commands
        return [
            *(command.name for command in FIRST_COMMANDS),
            *added,
            *(command.name for command in LAST_COMMANDS),
        ]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None if there is none of that name. Plugins are loaded for theirs only."""
        session = ctx.ensure_object(Session)
        return _CORE.get(cmd_name) or session.plugin_commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that *args* begin with. An unknown name gets the nearest names in its error."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            hint = nearest(args[0], self.list_commands(ctx))
            inactive = "".join(
                f"; {record.inactive_reason}"
                for record in ctx.ensure_object(Session).plugins.records
                if record.status != "active"
            )
            raise click.UsageError(f"no command named {args[0]!r}{hint} (plugport --help){inactive}", ctx)
        return super().resolve_command(ctx, args)
