"""The commands that the core itself brings; all others come through ``plugport_register_commands``."""

from __future__ import annotations

from plugport.cli.lazy import LazyCommand

__all__ = ["FIRST_COMMANDS", "LAST_COMMANDS", "RESERVED"]

#: In the order of ``plugport --help``, where the commands of plugins stand between the two.
FIRST_COMMANDS = (
    LazyCommand("list", "plugport.cli.listing:list_command", "List components, plugins or hooks"),
    LazyCommand("show", "plugport.cli.show:show", "Show a component, a plugin or a hook with its options"),
    LazyCommand("check", "plugport.cli.verdicts:check_command", "Check whether a combination is legal"),
    LazyCommand("matrix", "plugport.cli.verdicts:matrix_command", "Show which combinations are legal"),
    LazyCommand("serve", "plugport.cli.serve:serve", "Serve a handler on one or more URLs"),
)
LAST_COMMANDS = (
    LazyCommand("completion", "plugport.cli.completion:completion", "Print a shell's completion script"),
)
#: The names that no plugin can take.
RESERVED = frozenset(command.name for command in (*FIRST_COMMANDS, *LAST_COMMANDS))
