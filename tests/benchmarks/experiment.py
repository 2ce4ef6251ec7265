"""One round of one server under one load: what it took."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from accounts import Processors, busy_seconds, cpu_seconds, memory, settled
from errors import BenchmarkError
from loads import Load
from procfs import children
from servers import Running, Server

#: The share of requests that may be lost, or not be sent in time.
_MOST_LOST = 0.001


@dataclass(frozen=True)
class Figures:
    """What one round took.

    *cpu_us* is the processor time of the server for a request, in microseconds, and *busy* the share of
    the time that it was on its processor; *disturbed* is what others took of that processor, or of the
    load's, whichever is more; *p50* and *p99* are microseconds that clients waited. Memory
    is in bytes: *rss* and *pss* after the load; *bytes_silent* and *bytes_used* are what the resident
    set has grown by for a connection, before and after the warm-up, in which it has a round trip or more.
    What the kernel keeps for a socket is not in it. Start-up is in milliseconds.
    """

    cpu_us: float
    per_second: float
    p50: float
    p99: float
    busy: float
    disturbed: float
    rss: int
    pss: int
    start_ms: float
    bytes_silent: float
    bytes_used: float


class Disturbance:
    """Sees what others take of the two processors from now on."""

    def __init__(self, where: Processors, server: int, load: int) -> None:
        self._own = {where.server: {server}, where.load: {load, os.getpid()}}
        if where.server == where.load:
            self._own = {where.server: {server, load, os.getpid()}}
        self._began, self._before = time.monotonic(), self._others()

    def share(self) -> float:
        """The share of the time since then. Rough: the system counts in ticks of 10 ms."""
        took = time.monotonic() - self._began
        shares = [(now - before) / took for now, before in zip(self._others(), self._before, strict=True)]
        return max(0.0, *shares)

    def _others(self) -> list[float]:
        return [busy_seconds(processor) - sum(map(cpu_seconds, own)) for processor, own in self._own.items()]


def measure(server: Server, load: Load, host: str, where: Processors) -> Figures:
    """Start the server, load it, and end it. Raises BenchmarkError for whatever goes wrong."""
    try:
        with Running(server, host, where.server) as running:
            before_all = load.first()
            if before_all is not None:
                with before_all.run(running.address, where.load) as first:
                    first.connect()
                    first.warm_up()
            workers = frozenset(children(running.pid))
            settled(running.pid, workers)
            resting = memory(running.pid)
            with load.run(running.address, where.load) as run:
                run.connect()
                settled(running.pid, workers)
                connected = memory(running.pid)
                run.warm_up()
                before = settled(running.pid, workers)
                warm = memory(running.pid)
                disturbance = Disturbance(where, running.pid, run.pid)
                answers = run.measure()
                spent = settled(running.pid, workers) - before
                disturbed = disturbance.share()
                loaded = memory(running.pid)
    except BenchmarkError as error:
        raise BenchmarkError(f"{server.name}: {error}") from None
    if answers.lost + answers.late > _MOST_LOST * answers.requests:
        raise BenchmarkError(
            f"{server.name}: of {answers.requests} requests {answers.lost} were lost, {answers.late} late"
        )
    return Figures(
        cpu_us=1e6 * spent / answers.requests,
        per_second=answers.requests / answers.seconds,
        p50=answers.p50,
        p99=answers.p99,
        busy=spent / answers.seconds,
        disturbed=disturbed,
        rss=loaded.rss,
        pss=loaded.pss,
        start_ms=1000 * running.started_in,
        bytes_silent=(connected.rss - resting.rss) / load.held,
        bytes_used=(warm.rss - resting.rss) / load.held,
    )
