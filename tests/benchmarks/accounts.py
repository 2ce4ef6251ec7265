"""Processor time and memory, as Linux has accounted them to a process; and on which processor it runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from errors import BenchmarkError
from procfs import children

_TICKS = os.sysconf("SC_CLK_TCK")
#: Seconds after which a server that is not at rest will not be, and how often to look.
_PATIENCE, _INTERVAL = 15.0, 0.02


class Memory(NamedTuple):
    """Bytes: the resident set, and the proportional set, in which shared pages are shared out."""

    rss: int
    pss: int


def cpu_seconds(pid: int, workers: frozenset[int] = frozenset()) -> float:
    """Processor time, user and system, of a process, its threads, and its children that were waited for.

    *workers*: children that live as long as the server does, and are counted, too.

    The first is the process's own clock, exact to the nanosecond, threads that have ended included
    (clock_getcpuclockid(3) makes its number in this way); the children's is kept in ticks of 10 ms.
    """
    own = sum(time.clock_gettime(~each << 3 | 2) for each in (pid, *workers))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return own + (int(fields[13]) + int(fields[14])) / _TICKS


def settled(pid: int, workers: frozenset[int] = frozenset()) -> float:
    """Wait until a server is at rest and its children have been waited for; return its cpu_seconds().

    *workers*: the children that it keeps.

    At rest it may turn its loop once in a while: that is no more than half a millisecond in 20.
    """
    deadline = time.monotonic() + _PATIENCE
    before = cpu_seconds(pid, workers)
    while time.monotonic() < deadline:
        time.sleep(_INTERVAL)
        now = cpu_seconds(pid, workers)
        if now - before < _INTERVAL / 40 and children(pid) <= workers:
            return now
        before = now
    raise BenchmarkError(f"the server does not come to rest within {_PATIENCE:.0f} s after the load")


def memory(pid: int) -> Memory:
    """The memory of a process (proc(5), smaps_rollup)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
    return Memory(sizes["Rss:"], sizes["Pss:"])


def busy_seconds(processor: int) -> float:
    """Time that a processor has worked, for whomever, or was taken from this machine (proc(5), stat)."""
    lines = Path("/proc/stat").read_text().splitlines()
    fields = next(line.split() for line in lines if line.startswith(f"cpu{processor} "))
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


class Processors(NamedTuple):
    """Where the server and the load run; the same where there is only one."""

    server: int
    load: int


def processors() -> Processors:
    """Choose among those that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    return Processors(usable[-1], usable[0])


def pinned(processor: int) -> Callable[[], None]:
    """What a new process calls to run on one processor: for subprocess's preexec_fn."""
    return lambda: os.sched_setaffinity(0, {processor})
