"""The reference of the command line: every command with its arguments and options."""

from __future__ import annotations

from collections.abc import Iterator

import click
from installed import others
from prose import first_paragraph, markdown, page, table

from plugport.cli import LazyCommand, Session, main
from plugport.cli.command_line import cli

__all__ = ["command_line"]


def command_line() -> str:
    """Return the page."""
    session = Session()
    session.disable = tuple(others())
    context = click.Context(cli, info_name="plugport", obj=session)
    statuses = markdown(main.__doc__).partition("\n\n")[2]
    return page(
        "Command line",
        *_command(cli, context, 0),
        "Every command has `--help`.",
        f"## Exit status\n\n{statuses}",
        *_subcommands(cli, context, 2),
    )


def _subcommands(group: click.Group, context: click.Context, level: int) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        if isinstance(command, LazyCommand):
            command = command.load()
        below = click.Context(command, context, name)
        yield f"{'#' * level} {below.command_path}"
        yield from _command(command, below, level)
        if isinstance(command, click.Group):
            yield from _subcommands(command, below, level + 1)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    below = ["COMMAND", "..."] if isinstance(command, click.Group) else []
    usage = [context.command_path, "[OPTION]...", *below, *map(_argument, arguments)]
    yield f"```text\n{' '.join(usage)}\n```"
    yield markdown((command.help or "").replace("\b\n", ""))
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    yield table(["option", "meaning"], ([_names(each), _help(each)] for each in options))


# Not as click writes them: that differs from one version of it to the next.


def _argument(argument: click.Argument) -> str:
    if argument.metavar:
        return argument.metavar
    name = _choices(argument) or (argument.name or "").upper()
    name += "..." if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def _names(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if option.is_flag or option.count:
        return names
    return f"{names} {option.metavar or _choices(option) or option.type.name.upper()}"


def _choices(parameter: click.Parameter) -> str:
    return "|".join(map(str, parameter.type.choices)) if isinstance(parameter.type, click.Choice) else ""


def _help(option: click.Option) -> str:
    text = first_paragraph(option.help).replace("*", r"\*")
    if option.show_default and option.default is not None:
        text += f" Default: `{option.default}`."
    return text
