"""The command line: ``plugport list``, ``show``, ``check``, ``matrix``, ``serve``, and plugins' commands.

Each command is in a module of its own, which is imported when the command is called. What they share
is in :mod:`plugport.cli.command_line`. This module imports next to nothing, so that Ctrl-C is caught
from the start.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # not typing's: its import takes longer than all that runs before Ctrl-C is caught
if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugport.cli.completion import complete_component
    from plugport.cli.lazy import LazyCommand
    from plugport.cli.output import print_json, print_table
    from plugport.cli.session import Session, warn
else:
    from plugport._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "plugport.cli.completion": ("complete_component",),
            "plugport.cli.lazy": ("LazyCommand",),
            "plugport.cli.output": ("print_json", "print_table"),
            "plugport.cli.session": ("Session", "warn"),
        },
    )

__all__ = ["LazyCommand", "Session", "complete_component", "main", "print_json", "print_table", "warn"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with *argv* (by default that of the process) and return its exit status.

    0 is success; 1 a combination that is refused, or a problem that a command reports; 2 an error,
    which is one line on standard error; 130 an interrupt; 141 a standard output that nobody reads.
    """
    try:
        from plugport.cli.command_line import run

        return run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130
