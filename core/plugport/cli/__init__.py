"""The command line: ``plugport list``, ``show``, ``check``, ``matrix``, ``serve`` and the others.

Each command is in a module of its own, imported when it is called; what they share is in
:mod:`plugport.cli.command_line`. Here is only how it begins: next to nothing is imported before an
interrupt is taken for what it is.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # not typing's, which would be the most of what is imported here
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with *argv* (by default that of the process) and return its exit status.

    0 is success, 1 a combination refused, 2 an error, of which standard error has one line,
    130 an interrupt, 141 a standard output that nobody reads.
    """
    try:
        from plugport.cli.command_line import run

        return run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130
