"""LazyCommand: a command of the command line that is imported when it is called."""

from __future__ import annotations

import importlib
from typing import Any, NoReturn

import click

from plugport.contracts.wording import describe_error
from plugport.errors import TargetError

__all__ = ["LazyCommand"]


class LazyCommand(click.Command):
    """A command that is known by its name and its help, and imported when it is called.

    ``name``    the name on the command line
    ``target``  an import string ``package.module:attribute`` that names a click.Command
    ``help``    one line for ``plugport --help``, without a full stop

    ``plugport --help`` and completion of command names import no target. Everything else, the
    command's own ``--help`` too, is the target's. Raises ValueError for a *target* that is no import
    string.
    """

    name: str

    def __init__(self, name: str, target: str, help: str) -> None:  # noqa: A002 - click's word
        module, _, attribute = target.partition(":")
        if not module or not attribute:
            raise ValueError(f"target {target!r} of command {name!r} is not 'package.module:attribute'")
        super().__init__(name, help=help, short_help=help, add_help_option=False)
        self.target = target

    def load(self) -> click.Command:
        """Import the target. Raises TargetError if that fails, or if it is no click.Command."""
        module, _, attribute = self.target.partition(":")
        try:
            command = getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:
            self._refuse(f"{self.target} can't be imported: {describe_error(error)}", error)
        if not isinstance(command, click.Command):
            self._refuse(f"{self.target} is {command!r}, which is no click.Command")
        return command

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # click's
    ) -> click.Context:
        """Return the context of the target, which parses *args*. (click.Command.make_context)"""
        return self.load().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the target, whose context *ctx* is. (click.Command.invoke)"""
        return ctx.command.invoke(ctx)

    def _refuse(self, reason: str, cause: BaseException | None = None) -> NoReturn:
        raise TargetError(
            f"command {self.name!r} can't be run: {reason}; repair or upgrade the distribution that adds it"
        ) from cause
