"""Usage: processor time and memory of a process and its descendants, as Linux accounts for them.

On other systems both are None: unknown.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ["Usage", "cpu_usage", "memory_of"]

# Fields of /proc/PID/stat after the name, counted from 0 (proc(5) counts them from 1, the name second).
_PARENT, _WAITED_USER, _WAITED_SYSTEM = 1, 13, 14


class Usage(NamedTuple):
    """Processor seconds used until *time*, by time.monotonic()."""

    time: float
    cpu: float


def cpu_usage(pid: int) -> Usage | None:
    """Return the usage of *pid*, its ended threads, its descendants and the children it waited for.

    None if the system does not report it.
    """
    stats = _tree(pid)
    if not stats:
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    now, cpu = time.monotonic(), 0.0
    for each, fields in stats.items():
        try:
            cpu += time.clock_gettime(_clock_of(each))
        except OSError:
            if each == pid:
                return None
            continue  # it has ended: its time is in that of its parent
        cpu += (int(fields[_WAITED_USER]) + int(fields[_WAITED_SYSTEM])) / ticks
    return Usage(now, cpu)


def memory_of(pid: int) -> int | None:
    """Return the resident memory of *pid* and its descendants in bytes; None if it is not reported.

    Of a descendant only private pages are counted: it shares the others, most of them with *pid*.
    """
    found = list(_tree(pid))
    resident = _memory(pid, "Rss") if found else None
    if resident is None:
        return None
    return resident + sum(_memory(each, "Private_Clean", "Private_Dirty") or 0 for each in found[1:])


def _clock_of(pid: int) -> int:
    """Return the clock of the processor time of a process (clock_getcpuclockid(3))."""
    return (~pid << 3) | 2


def _tree(pid: int) -> dict[int, list[str]]:
    """Return the fields of /proc/PID/stat of *pid*, and then of its descendants; {} if it ended."""
    if sys.platform != "linux":
        return {}
    stats = {int(name): fields for name in os.listdir("/proc") if name.isdigit() and (fields := _stat(name))}
    children: dict[int, list[int]] = {}
    for each, fields in stats.items():
        children.setdefault(int(fields[_PARENT]), []).append(each)
    found = [pid] if pid in stats else []
    for each in found:
        found += children.get(each, [])
    return {each: stats[each] for each in found}


def _stat(pid: str) -> list[str]:
    try:
        return Path("/proc", pid, "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []  # it has ended


def _memory(pid: int, *names: str) -> int | None:
    """Return the sum of these fields of /proc/PID/smaps_rollup, in bytes."""
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except OSError:
        return None  # it has ended, or the kernel is older than Linux 4.14
    return sum(int(line.split()[1]) * 1024 for line in lines if line.partition(":")[0] in names)
