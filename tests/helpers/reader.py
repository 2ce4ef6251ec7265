"""Reader: does what a page says, in a folder, with a real plugport; see pages for how blocks are read."""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from doctest import ELLIPSIS, OutputChecker
from pathlib import Path
from typing import Any

from environments import PIP_PATIENCE, Process
from leaks import socket_files
from pages import TYPED, Block, add_to
from patience import PATIENCE, wait_until
from procfs import marked

__all__ = ["Reader"]

#: A port in a URL, an address of Python's, or the arguments of nc.
_PORT = re.compile(r"(?:127\.0\.0\.1|localhost|::1?\]|://)\"?[:, ]+(\d{4,5})\b")
#: In what is typed: a command, or Ctrl-C; and what is printed then.
_PROMPT = re.compile(r"^(?:\$ |(?=\^C$))", re.MULTILINE)
#: Runs $1, and writes to the file $2 in which folder and environment it ends.
_SHELL = """trap '{ printf "%s\\0" "$PWD"; env -0; } >"$2"' EXIT; eval "$1" """
_MARK = "PLUGPORT_TEST_PAGE"
_numbers = itertools.count(1)


class Service(Process):
    """What a command has left running, in a terminal of its own."""

    _seen = 0

    def __init__(self, command: str, log: Path, told: Callable[[str], str], **options: Any) -> None:
        self._told = told
        super().__init__(["bash", "-c", command], log, **options)

    @property
    def output(self) -> str:
        """What it has written, as the page would have it."""
        return self._told(super().output)

    def show(self, shown: str) -> None:
        """Wait until it has printed *shown*."""
        pattern = r"\A" + ".*?".join(map(re.escape, shown.split("...")))
        self._seen = self.wait_for(f"(?s){pattern}").end()

    def interrupt(self, shown: str = "") -> None:
        """Press Ctrl-C, which must end it well; compare what it has printed since show() with *shown*."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        status = self._process.wait(PATIENCE)
        assert status == 0, f"ended with {status}: {self.output}"
        if shown:
            _compare(shown, self.output[self._seen :])

    def kill(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)


class Reader:
    """Types, writes and runs the blocks of a page in *folder*, whose path should be short.

    Ports that the page names are replaced by free ones, and ``/tmp`` by a folder of its own: so
    pages can be read at the same time. Use it in a ``with`` statement, at the end of which nothing
    may be left running.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        # Beside the folder: what lists that is not to find it.
        self._tmp = Path(tempfile.mkdtemp(prefix="tmp"))
        self._mark = f"{os.getpid()}.{next(_numbers)}."
        self._environ = {**environ, _MARK: self._mark}
        self._ports: dict[str, str] = {}
        self._services: list[Service] = []
        self._started = itertools.count(1)

    def read(self, blocks: Iterable[Block]) -> None:
        """Do what *blocks* say, but for those that are not run. AssertionError if one of them is not true.

        May be called again, for a page that goes on from there.
        """
        blocks = list(blocks)
        named = {port for block in blocks for port in _PORT.findall(block.text)}
        self._ports = _free_ports(named - self._ports.keys(), self._ports)
        section = -1
        for block in blocks:
            if block.section != section:
                section = block.section
                self._end_services()
            if not block.reason:
                self._do(block)

    def _do(self, block: Block) -> None:
        if block.language == "console":
            self._converse(block.text)
        elif block.language in TYPED:
            self._type(block.text)
        elif block.file is not None:
            self._write(block.file, self._here(block.text), block.is_more)
        elif block.language == "python":
            result = self._run(["python", "-W", "error", "-c", self._here(block.text)])
            assert result.returncode == 0, result.stdout

    def _here(self, text: str) -> str:
        """Return what the page says with the ports and the folder that are ours."""
        text = re.sub(r"(?<![\w/.])/tmp\b|(?<=://)/tmp\b", str(self._tmp), text)
        return re.sub(r"\b\d{4,5}\b", lambda found: self._ports.get(found[0], found[0]), text)

    def _there(self, text: str) -> str:
        """Return what was written with the ports and the folder that the page has."""
        ports = {ours: theirs for theirs, ours in self._ports.items()}
        text = text.replace(str(self._tmp), "/tmp")
        return re.sub(r"\b\d{4,5}\b", lambda found: ports.get(found[0], found[0]), text)

    def _write(self, file: Path, text: str, more: bool) -> None:
        path = self._folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.read_text() + add_to(file, text) if more else text)

    def _type(self, text: str) -> None:
        for line in _joined(text).splitlines():
            if re.search(r"\bplugport( -\S+)* serve\b", line):
                self._start(line, "...listening on ")
            elif line.strip():
                result = self._shell(line)
                assert result.returncode == 0, f"{line}: {result.stdout}"

    def _converse(self, text: str) -> None:
        nothing, *typed = _PROMPT.split(_joined(text))
        assert not nothing.strip(), f"before the first command: {nothing}"
        for each in typed:
            command, _, shown = each.partition("\n")
            if command == "^C":
                self._services.pop().interrupt(shown)
            elif shown.rpartition("\n")[0].rpartition("\n")[2].startswith("listening on "):
                self._start(command, shown)
            else:
                result = self._shell(command)
                _compare(shown, self._there(result.stdout), command)
                assert shown or result.returncode == 0, command

    def _start(self, command: str, shown: str) -> None:
        log = self._tmp / f".service-{next(self._started)}"
        service = Service(self._here(command), log, self._there, env=self._environ, cwd=self._folder)
        self._services.append(service)
        service.show(shown)

    def _shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the shell, which may change folder and environment."""
        state = self._tmp / ".state"
        result = self._run(["bash", "-c", _SHELL, "bash", self._here(command), str(state)])
        folder, *variables = state.read_text().split("\0")[:-1]
        self._folder = Path(folder)
        self._environ = dict(variable.split("=", 1) for variable in variables)
        return result

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self._environ,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PIP_PATIENCE,
        )

    def _end_services(self) -> None:
        while self._services:
            service = self._services.pop()
            try:
                service.interrupt()
            finally:
                service.kill()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._end_services()
                wait_until(
                    lambda: not marked(f"{_MARK}={self._mark}"), what="the end of all that was started"
                )
                assert not socket_files(self._tmp)
            for service in self._services:
                service.kill()
        finally:
            shutil.rmtree(self._tmp)


def _joined(text: str) -> str:
    """Return *text* with the lines joined that a backslash continues."""
    return re.sub(r"\\\n *(?:> )?", "", text)


def _free_ports(ports: Iterable[str], taken: Mapping[str, str]) -> dict[str, str]:
    """Choose for each of *ports* one that is free for TCP and UDP, and that no program is likely to print."""
    chosen = dict(taken)
    for port in sorted(ports):
        while port not in chosen:
            candidate = random.randrange(5001, 10000, 2)
            if str(candidate) not in (*ports, *chosen.values()) and _is_free(candidate):
                chosen[port] = str(candidate)
    return chosen


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True


def _compare(shown: str, written: str, command: str = "") -> None:
    # At the end of a line is nothing to be seen, nor is whether the last one ends.
    written = re.sub(r" +$", "", written, flags=re.MULTILINE)
    if written and not written.endswith("\n"):
        written += "\n"
    assert OutputChecker().check_output(shown, written, ELLIPSIS), (
        f"{command}\nshown:\n{shown}\nwritten:\n{written}"
    )
