"""HTTPLoad: what is asked of a server of HTTP, and a run of wrk with that."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException
from math import ceil
from typing import Any, Self

from accounts import pinned
from errors import BenchmarkError
from loads import Answers

__all__ = ["HTTPLoad", "HTTPRun"]

_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


@dataclass(frozen=True)
class HTTPLoad:
    """GET of *path* on connections that stay; *body* is what must come back."""

    path: str
    body: str
    connections: int = 32
    seconds: float = 1.5
    #: Seconds in which nothing is counted; wrk knows whole ones.
    warm_up: int = 1

    @property
    def held(self) -> int:
        """Connections that a server holds under it."""
        return self.connections

    def first(self) -> HTTPLoad | None:
        """Nothing: the warm-up is long enough."""
        return None

    def run(self, address: tuple[str, int], processor: int) -> HTTPRun:
        """Begin a run."""
        return HTTPRun(self, address, processor)

    def lasting(self, seconds: float) -> HTTPLoad:
        """The same for so many seconds."""
        return replace(self, seconds=seconds)

    def tiny(self) -> HTTPLoad:
        """The same, too small to measure anything."""
        return replace(self, seconds=2.0, connections=4)


class HTTPRun:
    """wrk at work on a server; its steps are those of loads.LoadRun."""

    def __init__(self, load: HTTPLoad, address: tuple[str, int], processor: int) -> None:
        self._load = load
        self._address = address
        self._processor = processor
        #: wrk is waited for here, so that its time is in this process's account.
        self.pid = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        """Do nothing: wrk has ended."""

    def connect(self) -> None:
        """See that the answer is right: wrk does not look."""
        connection = HTTPConnection(*self._address, timeout=10)
        try:
            connection.request("GET", self._load.path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, HTTPException) as error:
            raise BenchmarkError(f"does not answer: {error!r}") from error
        finally:
            connection.close()
        if (response.status, body) != (200, self._load.body.encode()):
            raise BenchmarkError(f"answers with {response.status} and {body[:100]!r}")

    def warm_up(self) -> None:
        """Do the part that is not counted."""
        self._wrk(self._load.warm_up)

    def measure(self) -> Answers:
        """Do the part that is."""
        report = self._wrk(ceil(self._load.seconds))
        wrong = re.search(r"Non-2xx.*|Socket errors: .*", report)
        if wrong:
            raise BenchmarkError(f"the load failed: {wrong[0]}")
        total = _found(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", report)
        if not int(total[1]):
            raise BenchmarkError("nothing is answered in all the time")
        slowest = _found(r"Latency\s+\S+\s+\S+\s+([\d.]+)(us|ms|s|m)", report)
        return Answers(
            requests=int(total[1]),
            seconds=float(total[2]) * _UNITS[total[3]] / 1e6,
            errors=0,
            lost=0,
            late=0,
            p50=_percentile("50", report),
            p99=_percentile("99", report),
            max=float(slowest[1]) * _UNITS[slowest[2]],
        )

    def _wrk(self, seconds: int) -> str:
        host, port = self._address
        options = ["--threads=1", f"--connections={self._load.connections}", f"--duration={seconds}s"]
        try:
            done = subprocess.run(
                ["wrk", "--latency", *options, f"http://{host}:{port}{self._load.path}"],
                capture_output=True,
                text=True,
                preexec_fn=pinned(self._processor),
            )
        except FileNotFoundError:
            raise BenchmarkError("wrk is not installed; apt-get install wrk") from None
        if done.returncode:
            raise BenchmarkError(f"the load failed: {done.stdout}{done.stderr}")
        return done.stdout


def _percentile(which: str, report: str) -> float:
    found = _found(rf"{which}%\s+([\d.]+)(us|ms|s|m)", report)
    return float(found[1]) * _UNITS[found[2]]


def _found(pattern: str, report: str) -> re.Match[str]:
    match = re.search(pattern, report)
    if match is None:
        raise BenchmarkError(f"the load says what nobody understands:\n{report}")
    return match
