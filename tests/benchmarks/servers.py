"""What is started to be measured: plugport as users start it, its peers, and the floor in C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Self

from accounts import pinned
from compiler import program
from errors import BenchmarkError

HERE = Path(__file__).parent
#: Seconds that a server may take to start, and to end.
_PATIENCE = 20.0


@dataclass(frozen=True)
class Server:
    """A server by its name in tables; *command* makes its command line of the address to listen on.

    *path*: a folder in which it finds more packages. *plugins*: those of plugport that it has, of
    those that are installed.
    """

    name: str
    command: Callable[[str], list[str]]
    path: Path | None = None
    plugins: frozenset[str] = frozenset({"builtins"})

    def environ(self) -> dict[str, str]:
        """The environment to run it in: without the plugins that happen to be installed here."""
        others = {point.name for point in entry_points(group="plugport")} - self.plugins
        path = filter(None, [self.path and str(self.path), os.environ.get("PYTHONPATH")])
        return os.environ | {"PLUGPORT_DISABLE": ",".join(others), "PYTHONPATH": os.pathsep.join(path)}


def plugport(strategy: str, handler: str, *options: str, scheme: str = "tcp", note: str) -> Server:
    """``plugport serve`` as users run it, with a handler of handlers.py, and without an access log."""
    target = f"{HERE / 'handlers.py'}:{handler}"
    name = f"plugport {strategy}, {note}"

    def command(host: str) -> list[str]:
        url = f"{scheme}://{host}:0"
        return [sys.executable, "-m", "plugport", "serve", target, url, "-c", strategy, *options]

    return Server(name, command)


def counting(server: Server) -> Server:
    """The same with a plugin that counts requests: plugins/plugport_benchmark_counting.py."""
    return replace(server, name=f"{server.name}, counting", path=HERE / "plugins")


def peer(name: str, title: str) -> Server:
    """A peer of peers.py."""
    return Server(title, lambda host: [sys.executable, str(HERE / "peers.py"), name, host])


def floor(mode: str) -> Server:
    """native/echo.c."""
    return Server("C epoll", lambda host: [str(program("echo")), mode, host])


class Running:
    """A server at work, until the end of the block."""

    def __init__(self, server: Server, host: str, processor: int) -> None:
        self._log = tempfile.TemporaryFile("w+b")  # not a pipe: nobody would read it in time
        began = time.monotonic()
        self._process = subprocess.Popen(
            server.command(host),
            env=server.environ(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            preexec_fn=pinned(processor),
        )
        self.pid = self._process.pid
        try:
            found = self._wait_for_url()
        except BaseException:
            self._end()
            raise
        #: Seconds from its exec until it listens.
        self.started_in = time.monotonic() - began
        self.address = (found[1], int(found[2]))

    def _wait_for_url(self) -> re.Match[str]:
        deadline = time.monotonic() + _PATIENCE
        while True:
            ended = self._process.poll() is not None
            if found := re.search(r"listening on \w+://([\d.]+):(\d+)\n", self.output()):
                return found
            if ended or time.monotonic() > deadline:
                raise BenchmarkError(f"does not start:\n{self.output()}")
            time.sleep(0.0005)

    def output(self) -> str:
        """What it has written."""
        # pread(), because the server shares the file's position.
        return os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        status, output = self._process.poll(), self.output()
        self._end()
        said = f"; the server said:\n{output}" if output.count("\n") > 1 else ""
        if isinstance(error, BenchmarkError):
            raise BenchmarkError(f"{error}{said}")
        if kind is None and status is not None:
            raise BenchmarkError(f"ended with status {status}{said}")
        if kind is None and "Traceback" in output:
            raise BenchmarkError(f"had an error{said}")

    def _end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"does not end within {_PATIENCE:.0f} s of SIGTERM") from None
        finally:
            self._process.kill()
            self._process.wait()
            self._log.close()
