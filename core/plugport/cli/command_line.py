"""The group ``plugport``: its global options, and the exit status and message of an error."""

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
    """Run the command line with *arguments* and return its exit status, as main() documents it."""
    session = Session()
    try:
        status = _run(session, list(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        _redirect_stdout_to_null()
        return 141  # the status of a process that SIGPIPE has ended
    except click.Abort:
        return 130
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        return _fail(session, error, _usage(error))
    except PlugportError as error:
        return _fail(session, error, str(error))
    except OSError as error:
        _redirect_stdout_to_null()
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


def _redirect_stdout_to_null() -> None:
    # The interpreter flushes stdout once more at exit, and would print another error.
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (AttributeError, OSError, ValueError):
        pass  # standard output is not a file


def _set_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    _session(context).debug = value


def _set_strict(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    _session(context).strict = value


def _set_disabled(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
    _session(context).disable = value


def _session(context: click.Context) -> Session:
    return context.ensure_object(Session)


def _complete_plugin(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    from plugport.cli.completion import complete_plugin

    return complete_plugin(context, parameter, incomplete)


def _print_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from plugport.plugin.distributions import installed_version

        click.echo(f"plugport {installed_version('plugport') or '(not installed)'}")
        context.exit()


# All are eager: --help lists the commands of plugins, and must know which plugins to load.
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
    help="Treat a plugin that fails as an error.",
)
@click.option(
    "--disable-plugin",
    metavar="NAME",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_set_disabled,
    shell_complete=_complete_plugin,
    help="Plugin that is not loaded: NAME, DISTRIBUTION or DISTRIBUTION:NAME. May be repeated.",
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

    The environment variable PLUGPORT_DISABLE names plugins that are not loaded, separated by commas.
    PLUGPORT_TRACE=1 writes each call of a hook to standard error; names of hooks, separated by commas,
    in the place of 1 limit it to these.
    """
