"""The pages of the documentation, and their blocks of code: what a reader types, writes, runs or reads.

What is done with a block follows from the page, so that a reader can tell, too:

``console``           is typed into a terminal line by line, and what follows a ``$ command`` is what it
                      prints; ``...`` stands for anything. A command of which the last line shown begins
                      with ``listening on`` is left running, for the other commands to talk to, until
                      ``^C``, or until the next heading. Behind ``^C`` is what it has printed since.
``sh``                is typed, too, and must succeed; what it prints is not shown. A ``plugport serve`` is
                      left running here, too.
a block with a file   is written: the line before it ends with the file's name, ```upper.py`:``. After
                      "At the end of" it is added to what the file has.
``python``            with no file is a program: it must run by itself, without a warning.
any other language    is for reading alone: ``text``, ``ini``, ``json`` and so on.

A block that can't be run says why in a comment of its own before it: ``<!-- not run: it needs root -->``.

A page begins in an empty folder, where plugport is installed. Another beginning is told in a comment, too:
``<!-- begins in plugport, a copy of .. -->``, where plugport is for the page to install if the copy is of
the repository; ``<!-- goes on from quickstart.md -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "PAGES",
    "ROOT",
    "SHOWN",
    "TYPED",
    "Block",
    "Copy",
    "add_to",
    "blocks_of",
    "copy_of",
    "files_of",
    "story_of",
]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("contrib/*/README.md"))]

#: Languages of what is typed into a terminal.
TYPED = ("console", "sh")
#: Languages of what is only to be read, where it is no file's.
SHOWN = ("css", "html", "ini", "json", "text", "toml", "yaml")

_FENCE = re.compile(r"( *)(```+|~~~+)(\w*)")
_HEADING = re.compile(r"#{1,6} ")
_FILE = re.compile(r"(?P<more>At the end of )?`(?P<path>[\w./-]+\.[a-z]+)`:\Z")
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->\Z")
_BEGINS_IN = re.compile(r"^<!-- begins in (\S+), a copy of (\S+) -->$", re.MULTILINE)
_GOES_ON = re.compile(r"^<!-- goes on from (\S+) -->$", re.MULTILINE)


class Block(NamedTuple):
    """A block of code: the line of text before it, its language, and how many headings are before it."""

    lead: str
    language: str
    text: str
    section: int

    @property
    def file(self) -> Path | None:
        """The file that the block is to be written to, or None."""
        found = _FILE.search(self.lead)
        return Path(found["path"]) if found and self.language not in TYPED else None

    @property
    def is_more(self) -> bool:
        """Whether it is added to what the file has."""
        found = _FILE.search(self.lead)
        return bool(found and found["more"])

    @property
    def reason(self) -> str:
        """Why it is not run, "" if it is."""
        found = _NOT_RUN.search(self.lead)
        return found[1] if found else ""


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of *page* in their order. ValueError if one is not closed."""
    lead, section = "", 0
    lines = iter(page.read_text().splitlines())
    for line in lines:
        fence = _FENCE.match(line)
        if fence:
            text = []
            for inner in lines:
                if inner.strip() == fence[2]:
                    break
                text.append(inner.removeprefix(fence[1]) + "\n")
            else:
                raise ValueError(f"{page}: a block is not closed: {line}")
            yield Block(lead, fence[3], "".join(text), section)
            lead = ""
        elif line.strip():
            lead = line.strip()
            section += bool(_HEADING.match(line))


def story_of(page: Path) -> list[Path]:
    """Return the pages that are to be read one after the other up to *page*."""
    before = _GOES_ON.search(page.read_text())
    return [*(story_of((page.parent / before[1]).resolve()) if before else ()), page]


class Copy(NamedTuple):
    """A folder that a page begins in: its name, and what it is a copy of."""

    name: str
    original: Path


def copy_of(page: Path) -> Copy | None:
    """Return the folder that *page* begins in; None for an empty one."""
    found = _BEGINS_IN.search(page.read_text())
    return Copy(found[1], (page.parent / found[2]).resolve()) if found else None


def add_to(file: Path, text: str) -> str:
    """Return *text* as it is put behind what *file* has: after as many empty lines as are usual."""
    gap = "\n\n" if file.suffix == ".py" else "\n" if text.startswith("[") else ""
    return gap + text


def files_of(page: Path) -> dict[Path, str]:
    """Return the files that *page* has its reader write, as they are in the end."""
    files: dict[Path, str] = {}
    for block in blocks_of(page):
        file = block.file
        if file is not None and not block.reason:
            files[file] = files[file] + add_to(file, block.text) if block.is_more else block.text
    return files
