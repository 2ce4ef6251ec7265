"""``plugport completion``: completion scripts for shells, and the completion of names."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem, get_completion_class

from plugport.cli.session import Session
from plugport.contracts.component import Kind
from plugport.errors import PlugportError
from plugport.plugin.specs import HOOKS

__all__ = ["complete_any_name", "complete_component", "complete_plugin", "completion"]

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a shell's completion script.

    It completes commands, options and names in SHELL.

    For bash, put this in ~/.bashrc: eval "$(plugport completion bash)"
    """
    shell_class = get_completion_class(shell)
    assert shell_class is not None  # click knows these three
    click.echo(shell_class(context.find_root().command, {}, "plugport", "_PLUGPORT_COMPLETE").source())


def complete_component(kind: Kind | None = None) -> Completer:
    """Return a function that completes names of components, of one *kind* or of all."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            entries = list(_session(context).registry.entries(kind))
        except PlugportError:
            return []  # an error message would end up in the command line of the user
        return [
            CompletionItem(entry.selector, help=entry.summary)
            for entry in entries
            if entry.selector.startswith(incomplete)
        ]

    return complete


def complete_any_name(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the names that ``plugport show`` takes: of components, plugins and hooks."""
    return [
        *complete_component()(context, parameter, incomplete),
        *complete_plugin(context, parameter, incomplete),
        *(CompletionItem(name, help="hook") for name in HOOKS if name.startswith(incomplete)),
    ]


def complete_plugin(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the names of plugins."""
    try:
        records = _session(context).plugins.records
    except PlugportError:
        return []
    return [
        CompletionItem(record.name, help=record.distribution)
        for record in records
        if record.name.startswith(incomplete)
    ]


def _session(context: click.Context) -> Session:
    return context.find_object(Session) or Session()
