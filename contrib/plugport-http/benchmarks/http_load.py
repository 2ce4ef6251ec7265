"""HTTPLoad: the requests to an HTTP server, and a run of wrk with them."""

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
    """GET of *path* on persistent connections; *body* is the expected response."""

    path: str
    body: str
    connections: int = 32
    seconds: float = 1.5
    #: Seconds before the measurement; whole ones, for wrk.
    warm_up: int = 1

    @property
    def held(self) -> int:
        """The number of connections."""
        return self.connections

    def first(self) -> HTTPLoad | None:
        """Return None: the warm-up is long enough."""
        return None

    def run(self, address: tuple[str, int], processor: int) -> HTTPRun:
        """Return a run on *processor*."""
        return HTTPRun(self, address, processor)

    def lasting(self, seconds: float) -> HTTPLoad:
        """Return the same load for *seconds*."""
        return replace(self, seconds=seconds)

    def tiny(self) -> HTTPLoad:
        """Return the same load, too small to measure anything."""
        return replace(self, seconds=2.0, connections=4)


class HTTPRun:
    """A run of wrk, with the steps of loads.LoadRun."""

    def __init__(self, load: HTTPLoad, address: tuple[str, int], processor: int) -> None:
        self._load = load
        self._address = address
        self._processor = processor
        #: wrk is a child of this process, whose times include it.
        self.pid = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        """Do nothing: wrk has exited."""

    def connect(self) -> None:
        """Check the response, which wrk does not."""
        connection = HTTPConnection(*self._address, timeout=10)
        try:
            connection.request("GET", self._load.path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, HTTPException) as error:
            raise BenchmarkError(f"no response: {error!r}") from error
        finally:
            connection.close()
        if (response.status, body) != (200, self._load.body.encode()):
            raise BenchmarkError(f"the response is {response.status} and {body[:100]!r}")

    def warm_up(self) -> None:
        """Run wrk before the measurement."""
        self._wrk(self._load.warm_up)

    def measure(self) -> Answers:
        """Run wrk, and return its results."""
        report = self._wrk(ceil(self._load.seconds))
        wrong = re.search(r"Non-2xx.*|Socket errors: .*", report)
        if wrong:
            raise BenchmarkError(f"the load failed: {wrong[0]}")
        total = _found(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", report)
        if not int(total[1]):
            raise BenchmarkError("there was no response")
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
        raise BenchmarkError(f"the output of wrk is not understood:\n{report}")
    return match
