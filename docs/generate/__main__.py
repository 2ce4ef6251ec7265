"""Writes the pages of docs/reference that the code itself gives: ``python docs/generate``.

With ``--check`` it writes nothing, names those that are not as they should be, and ends with
status 1 if there are any.
"""

from __future__ import annotations

import sys
from pathlib import Path

from api import api
from command_line import command_line
from components import components
from environment import environment
from errors import errors
from hooks import hooks
from matrix import matrix

FOLDER = Path(__file__).parents[1] / "reference"
PAGES = (api, command_line, components, environment, errors, hooks, matrix)


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    if arguments not in ([], ["--check"]):
        print("usage: python docs/generate [--check]", file=sys.stderr)
        return 2
    stale = []
    for write in PAGES:
        file, text = FOLDER / f"{write.__name__.replace('_', '-')}.md", write()
        if not file.exists() or file.read_text() != text:
            stale.append(file)
            if not arguments:
                file.write_text(text)
    for file in stale:
        print(f"{'not as the code has it' if arguments else 'written'}: docs/reference/{file.name}")
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
