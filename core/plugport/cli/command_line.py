"""What the commands share: the global options, and how an error ends the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from plugport.cli.group import PlugportGroup
from plugport.cli.session import Session
from plugport.contracts.wording import describe_error
from plugport.errors import PlugportError

__all__ = ["cli", "run"]

#: Set by the scripts that ``plugport completion`` prints.
_COMPLETE = "_PLUGPORT_COMPLETE"


def run(arguments: Sequence[str]) -> int:
    """Run the command line with *arguments* and return its exit status: what main() does."""
    session = Session()
    try:
        status = _run(session, list(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        _forget_stdout()
        return 141  # as if ended by SIGPIPE
    except click.Abort:
        return 130
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        return _fail(session, error, _usage(error))
    except PlugportError as error:
        return _fail(session, error, str(error))
    except OSError as error:
        _forget_stdout()
        return _fail(session, error, f"input or output failed: {error}")
    except Exception as error:
        return _fail(session, error, f"unexpected {describe_error(error)}; --debug shows the traceback")


def _run(session: Session, arguments: list[str]) -> int:
    instruction = os.environ.get(_COMPLETE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {"obj": session}, "plugport", _COMPLETE, instruction)
    with cli.make_context("plugport", arguments, obj=session) as context:
        return cli.invoke(context) or 0


def _usage(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    if context is None or "--help" in message:
        return message
    return f"{message} ({context.command_path} --help)"


def _fail(session: Session, error: BaseException, message: str) -> int:
    if session.debug:
        import traceback

        traceback.print_exception(error)
    print(f"plugport: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _forget_stdout() -> None:
    # Else the interpreter tries once more to flush it at exit, and complains.
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (AttributeError, OSError, ValueError):
        pass  # it is not a file


def _set_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.find_object(Session).debug = value  # type: ignore[union-attr]


def _set_strict(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.find_object(Session).strict = value  # type: ignore[union-attr]


def _set_disabled(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
    context.find_object(Session).disable = value  # type: ignore[union-attr]


def _complete_plugin(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    from plugport.cli.completion import plugins_like

    return plugins_like(context, incomplete)


def _print_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from plugport.plugin.distributions import installed_version

        click.echo(f"plugport {installed_version('plugport') or '(not installed)'}")
        context.exit()


# Eager, all of them: the help page lists the commands of plugins, and so must know which to load.
@click.group(cls=PlugportGroup, no_args_is_help=False)
@click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_debug,
    help="Show the traceback of an error.",
)
@click.option(
    "--strict-plugins",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_strict,
    help="Take a plugin that fails for an error.",
)
@click.option(
    "--disable-plugin",
    metavar="NAME",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_set_disabled,
    shell_complete=_complete_plugin,
    help="Don't load this plugin: NAME, DISTRIBUTION or DISTRIBUTION:NAME. May be repeated.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Serve any handler on any server, under any concurrency strategy, by name.

    In the environment PLUGPORT_DISABLE names plugins that are not loaded, separated by commas, and
    PLUGPORT_TRACE=1 has each call of a hook told on standard error; names of hooks limit it to these.
    """
