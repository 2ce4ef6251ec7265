"""A page of documentation, done as it says: its files written, its commands run, its results as shown."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from doctest import ELLIPSIS, OutputChecker
from pathlib import Path
from typing import NamedTuple

from environments import PIP_PATIENCE, Process

__all__ = ["Block", "Reader", "blocks_of", "files_of"]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?P<more>At the end of )?`(?P<path>[^`]+)`:\Z")
#: Languages of blocks that a reader types into a terminal: those whose output is shown, or is not.
CONSOLE, SHELL = "console", "sh"
#: That of blocks that are only to be looked at.
TEXT = "text"
#: That of services.
PORT = "9000"
#: Commands that change the shell in which those after them run.
LASTING = re.compile(r"(cd|\.) ")


class Block(NamedTuple):
    """A block of code, and the line of text before it."""

    lead: str
    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of *page*; AssertionError if one is written so that it would be overlooked."""
    text = page.read_text()
    blocks = [
        Block(text[: found.start()].rstrip().rpartition("\n")[2], *found.groups())
        for found in BLOCK.finditer(text)
    ]
    assert text.count("\n```") == 2 * len(blocks), f"{page}: a block without a language, or without an end"
    return blocks


def files_of(blocks: list[Block]) -> Iterator[tuple[Path, bool, str]]:
    """Yield the files that a page has its reader write: path, whether it is added to, text."""
    for block in blocks:
        if block.language not in (CONSOLE, SHELL, TEXT):
            found = FILE.search(block.lead)
            assert found, f"no file is named before {block.text}"
            yield Path(found["path"]), bool(found["more"]), block.text


class Reader:
    """Does what pages say, in *folder*: with one terminal for commands, and one for a service."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.environ = environ
        self.service: Process | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])

    def do(self, blocks: list[Block]) -> None:
        """Do all of a page."""
        to_write = files_of(blocks)
        try:
            for block in blocks:
                if block.language == CONSOLE:
                    self._converse(block.text)
                elif block.language == SHELL:
                    self._type(block.text)
                elif block.language != TEXT:
                    self._write(*next(to_write))
        finally:
            if self.service is not None:
                self.service.stop()

    def _write(self, path: Path, more: bool, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if more:
            gap = "\n\n" if file.suffix == ".py" else "\n" if text.startswith("[") else ""
            text = file.read_text() + gap + text
        file.write_text(text)

    def _type(self, text: str) -> None:
        """Run commands of which no output is shown."""
        for command in text.splitlines():
            result = self._run(command)
            assert result.returncode == 0, f"{command}\n{result.stdout}"

    def _converse(self, text: str) -> None:
        """Run commands, and compare what they write with what is shown."""
        interrupt, *commands = re.split(r"^\$ ", text, flags=re.MULTILINE)
        if interrupt:
            self._interrupt(interrupt.removeprefix("^C\n"))
        for command, shown in (each.split("\n", 1) for each in commands):
            if shown.startswith("listening on "):
                command, shown = self._here(command), self._here(shown)
                self.service = Process(
                    f"exec {command}", self.folder / "log", shell=True, env=self.environ, cwd=self.folder
                )
                self.service.wait_for(re.escape(shown))
            else:
                self._compare(shown, self._run(command).stdout)

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        command = self._here(command)
        # What changes the shell itself tells what it is then, for the shells of the commands to come.
        lasting = LASTING.match(command)
        result = subprocess.run(
            f"{command} && pwd && env -0" if lasting else command,
            shell=True,
            env=self.environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PIP_PATIENCE,
        )
        if lasting and result.returncode == 0:
            folder, _, environ = result.stdout.partition("\n")
            self.folder = Path(folder)
            self.environ = dict(each.split("=", 1) for each in environ.split("\0") if each)
        return result

    def _interrupt(self, shown: str = "") -> None:
        assert self.service is not None
        assert self.service.stop(signal.SIGINT) == 0
        output = self.service.output.partition("\n")[2]
        self.service = None
        if shown:
            self._compare(shown, output)

    def _here(self, text: str) -> str:
        """What is to be typed here for *text*: the port of the pages may be in use."""
        return text.replace(PORT, self.port)

    def _compare(self, shown: str, written: str) -> None:
        """AssertionError if *written* is not what is *shown*, in which ``...`` stands for anything."""
        # At the end of a line is nothing to be seen.
        written = re.sub(r" +$", "", written.replace(self.port, PORT), flags=re.MULTILINE)
        assert OutputChecker().check_output(shown, written, ELLIPSIS), f"shown:\n{shown}\nwritten:\n{written}"
