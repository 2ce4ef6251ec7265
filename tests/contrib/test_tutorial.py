"""The tutorial, done as it says: its files written, its commands run, its results as shown."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from doctest import ELLIPSIS, OutputChecker
from pathlib import Path
from typing import NamedTuple

import pytest
from environments import PIP_PATIENCE, Environment, Process

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
EXAMPLE = ROOT / "contrib" / "plugport-example"

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?P<more>At the end of )?`(?P<path>[^`]+)`:\Z")
#: Languages of blocks that a reader types into a terminal: those whose output is shown, or is not.
CONSOLE, SHELL = "console", "sh"


class Block(NamedTuple):
    """A block of code, and the line of text before it."""

    lead: str
    language: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    for found in BLOCK.finditer(page):
        yield Block(page[: found.start()].rstrip().rpartition("\n")[2], *found.groups())


BLOCKS = list(blocks(TUTORIAL.read_text()))


def files() -> Iterator[tuple[Path, bool, str]]:
    """The files that the tutorial has its reader write: path, whether it is added to, text."""
    for block in BLOCKS:
        if block.language not in (CONSOLE, SHELL):
            found = FILE.search(block.lead)
            assert found, f"no file is named before {block.text}"
            yield Path(found["path"]), bool(found["more"]), block.text


def test_no_block_is_overlooked() -> None:
    assert TUTORIAL.read_text().count("\n```") == 2 * len(BLOCKS)


@pytest.mark.parametrize(("path", "more", "text"), [each for each in files() if each[0].name != "README.md"])
def test_what_it_has_written_is_the_example(path: Path, more: bool, text: str) -> None:
    assert text in (EXAMPLE / path).read_text()


class Reader:
    """Does what the tutorial says, in *folder*: with one terminal for commands, and one for a service."""

    def __init__(self, folder: Path, environment: Environment) -> None:
        self.folder = folder
        self.environ = environment.environ
        self.service: Process | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])

    def write(self, path: Path, more: bool, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if more:
            gap = "\n\n" if file.suffix == ".py" else "\n" if text.startswith("[") else ""
            text = file.read_text() + gap + text
        file.write_text(text)

    def type(self, text: str) -> None:
        """Run commands of which no output is shown."""
        for command in text.splitlines():
            result = self.run(command)
            assert result.returncode == 0, result.stdout

    def converse(self, text: str) -> None:
        """Run commands, and compare what they write with what is shown."""
        interrupt, *commands = re.split(r"^\$ ", text.replace("9000", self.port), flags=re.MULTILINE)
        if interrupt:
            self.interrupt(interrupt.removeprefix("^C\n"))
        for command, shown in (each.split("\n", 1) for each in commands):
            if shown.startswith("listening on "):
                self.service = Process(
                    command.split(), self.folder / "log", env=self.environ, cwd=self.folder
                )
                self.service.wait_for(re.escape(shown))
            else:
                compare(shown, self.run(command).stdout)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            shell=True,
            env=self.environ,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PIP_PATIENCE,
        )

    def interrupt(self, shown: str = "") -> None:
        assert self.service is not None
        assert self.service.stop(signal.SIGINT) == 0
        output = self.service.output.partition("\n")[2]
        self.service = None
        if shown:
            compare(shown, output)


def compare(shown: str, written: str) -> None:
    # At the end of a line is nothing to be seen.
    written = re.sub(r" +$", "", written, flags=re.MULTILINE)
    assert OutputChecker().check_output(shown, written, ELLIPSIS), f"shown:\n{shown}\nwritten:\n{written}"


def test_it_can_be_done(plugport_wheel: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "environment", with_pip=True)
    environment.pip("install", plugport_wheel)
    folder = tmp_path / "plugport-example"
    folder.mkdir()
    reader = Reader(folder, environment)
    to_write = files()
    try:
        for block in BLOCKS:
            if block.language == CONSOLE:
                reader.converse(block.text)
            elif block.language == SHELL:
                reader.type(block.text)
            else:
                reader.write(*next(to_write))
    finally:
        if reader.service is not None:
            reader.service.stop()
    # What the reader has now is the example, whose pyproject.toml goes on with the settings of its linters.
    for path in {path for path, _, _ in files()} - {Path("README.md")}:
        written, example = (folder / path).read_text(), (EXAMPLE / path).read_text()
        assert example.startswith(written) if path.name == "pyproject.toml" else example == written
