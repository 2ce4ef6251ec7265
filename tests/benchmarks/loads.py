"""What is asked of a server: the loads, as data, and a run of native/load.c with one."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Self

from accounts import pinned
from compiler import program
from errors import BenchmarkError


@dataclass(frozen=True)
class Load:
    """The options of native/load.c, which explains them."""

    mode: str = "stream"
    connections: int = 64
    size: int = 100
    depth: int = 1
    rate: float = 0
    idle: int = 0
    drip: int = 0
    seconds: float = 0
    requests: int = 0
    warm_up: float = 0.2
    patience: float = 10

    @property
    def held(self) -> int:
        """Connections that a server holds under it."""
        return self.connections + self.idle + self.drip

    def first(self) -> Load | None:
        """What a server is asked before its memory is looked at; None for nothing."""
        return Load(connections=10, requests=1000) if self.mode == "stream" else None

    def run(self, address: tuple[str, int], processor: int) -> LoadRun:
        """Begin a run."""
        return LoadRun(self, address, processor)

    def arguments(self) -> list[str]:
        """The command line."""
        options = asdict(self).items()
        return [f"--{name.replace('_', '-')}={value}" for name, value in options if value]

    def lasting(self, seconds: float) -> Load:
        """The same for so many seconds, unless it has a number of requests."""
        return self if self.requests else replace(self, seconds=seconds)

    def tiny(self) -> Load:
        """The same, too small to measure anything, but big enough to find what does not work."""
        few = {name: min(getattr(self, name), 1000) for name in ("connections", "idle", "drip")}
        if self.rate:
            return replace(self, **few, rate=500, seconds=0.1)
        return replace(self, **few, requests=max(200, few["connections"]))


class Answers(NamedTuple):
    """What a load has to say; times in microseconds. See native/load.c."""

    requests: int
    seconds: float
    errors: int
    lost: int
    late: int
    p50: float
    p99: float
    max: float


class LoadRun:
    """native/load.c at work on a server. Its three steps come in their order: connect, warm up, measure."""

    def __init__(self, load: Load, address: tuple[str, int], processor: int) -> None:
        host, port = address
        self._process: Any = subprocess.Popen(
            [program("load"), f"--address={host}", f"--port={port}", *load.arguments()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=pinned(processor),
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is not None:
            self._process.kill()
        self._process.stdin.close()  # which ends it
        self._process.wait()
        self._process.stdout.close()
        self._process.stderr.close()

    def connect(self) -> None:
        """Wait until all connections that stay are there."""
        self._expect("connected")

    def warm_up(self) -> None:
        """Have it do the part that is not counted."""
        self._go()
        self._expect("warm")

    def measure(self) -> Answers:
        """Have it do the part that is. Its connections stay until the block ends."""
        self._go()
        answers = Answers(**json.loads(self._line()))
        if answers.errors:
            raise self._error()
        return answers

    def _go(self) -> None:
        with suppress(BrokenPipeError):  # it has ended, and has said why
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def _expect(self, word: str) -> None:
        if self._line() != f"{word}\n":
            raise self._error()

    def _line(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise self._error()
        return line

    def _error(self) -> BenchmarkError:
        self._process.stdin.close()
        return BenchmarkError(f"the load failed: {self._process.stderr.read().strip()}")
