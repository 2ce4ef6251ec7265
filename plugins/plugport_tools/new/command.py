"""``plugport new``: makes the project of a handler, a server, a strategy or a plugin of hooks."""

from __future__ import annotations

import os
import shlex
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from plugport.cli import Session
from plugport.handlers import STYLES, Style

if TYPE_CHECKING:
    from plugport_tools.new.shapes import Shape

__all__ = ["new"]

Command = TypeVar("Command", bound=Callable[..., None])


@click.group(no_args_is_help=False)
def new() -> None:
    """Make a project for a component or a plugin.

    It is a package that works, with tests, in a new directory. The commands that install, test and
    serve it are printed.
    """


def _arguments(command: Command) -> Command:
    """Add the parameters that all kinds of projects have."""
    command = click.option(
        "--directory",
        metavar="DIRECTORY",
        type=click.Path(path_type=Path),
        help="New or empty directory of the project (default: plugport-NAME).",
    )(command)
    return click.argument("name")(command)


@new.command()
@_arguments
@click.option(
    "--style",
    type=click.Choice(STYLES),
    default="message",
    show_default=True,
    help="message: a function of a message. blocking: a handler of socketserver's. protocol: a protocol "
    "of asyncio's. async: a coroutine with a reader and a writer.",
)
@click.option(
    "--datagrams",
    is_flag=True,
    help="Serve datagrams (udp, unixgram) rather than connections (tcp, unix); a message is both.",
)
@click.pass_obj
def handler(session: Session, name: str, directory: Path | None, style: Style, datagrams: bool) -> None:
    """A handler: what is done with a request.

    NAME is what it will be served by: plugport serve NAME. The distribution is plugport-NAME.
    """
    from plugport_tools.new.shapes import handler_shape

    _make(session, handler_shape(style, datagrams), name, directory)


@new.command()
@_arguments
@click.pass_obj
def server(session: Session, name: str, directory: Path | None) -> None:
    """A server: how requests arrive.

    NAME is the scheme of its URLs: plugport serve echo NAME://127.0.0.1:9000. The distribution is
    plugport-NAME.
    """
    from plugport_tools.new.shapes import SERVER

    _make(session, SERVER, name, directory)


@new.command()
@_arguments
@click.pass_obj
def concurrency(session: Session, name: str, directory: Path | None) -> None:
    """A concurrency strategy: how requests are scheduled.

    NAME is what it will be selected by: plugport serve echo -c NAME. The distribution is
    plugport-NAME.
    """
    from plugport_tools.new.shapes import CONCURRENCY

    _make(session, CONCURRENCY, name, directory)


@new.command()
@_arguments
@click.pass_obj
def hooks(session: Session, name: str, directory: Path | None) -> None:
    """A plugin of hooks: what is to happen at each request.

    NAME is that of the plugin: plugport --disable-plugin NAME. The distribution is plugport-NAME.
    """
    from plugport_tools.new.shapes import HOOKS

    _make(session, HOOKS, name, directory)


def _make(session: Session, shape: Shape, name: str, directory: Path | None) -> None:
    from plugport_tools.new.names import Names
    from plugport_tools.new.rendering import render, serve_arguments
    from plugport_tools.new.taken import check_free
    from plugport_tools.new.writing import write_project

    names = Names(name)
    check_free(names, shape, session.registry)
    files = render(shape, names)
    directory = directory or Path(names.distribution)
    write_project(directory, files)
    place = os.path.join(os.curdir, directory)
    click.echo(f"made {names.distribution}, a {shape.what}:")
    for path in sorted(files):
        click.echo(f"  {directory / path}")
    click.echo("install, test and serve it:")
    click.echo(f"  {_program('pip')} install --editable {shlex.quote(f'{place}[test]')}")
    click.echo(f"  {_program('pytest')} {shlex.quote(place)}")
    click.echo(f"  {_program('plugport')} serve {serve_arguments(shape, names)}")


def _program(name: str) -> str:
    """Return the command of a program of this environment, whether it is activated or not."""
    scripts = sysconfig.get_path("scripts")
    found = shutil.which("plugport")
    if found and os.path.realpath(os.path.dirname(found)) == os.path.realpath(scripts):
        return name
    return shlex.quote(os.path.join(scripts, name))
