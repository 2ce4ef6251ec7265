"""What /proc tells of processes: what they hold, what they have spent, who is left of them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class Census(NamedTuple):
    """How many of each a process holds."""

    descriptors: int
    threads: int
    children: int


def census(pid: int) -> Census:
    """Count what a process holds now."""
    return Census(len(descriptors(pid)), len(os.listdir(f"/proc/{pid}/task")), len(children(pid)))


def is_idle(pid: int) -> bool:
    """Whether a process has no children and one thread, which waits."""
    return not children(pid) and len(os.listdir(f"/proc/{pid}/task")) == 1 and _stat(pid)[0] == "S"


def descriptors(pid: int) -> set[int]:
    """The numbers of a process's open descriptors."""
    return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}


def children(pid: int) -> set[int]:
    """The children of a process, zombies included."""
    found = set()
    for other in _processes():
        with contextlib.suppress(OSError):  # it has gone
            if int(_stat(other)[1]) == pid:
                found.add(other)
    return found


def listening_ports() -> set[int]:
    """The TCP ports on which anything listens over IPv4."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(fields[1].rpartition(":")[2], 16) for fields in lines if fields[3] == "0A"}


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has taken, in itself and in the kernel."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def marked(mark: str) -> set[int]:
    """The processes that have *mark* in the environment that they were started with."""
    found = set()
    for pid in _processes():
        with contextlib.suppress(OSError):  # it has gone, or is somebody else's
            if mark.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.add(pid)
    return found


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, … (proc(5) counts them from 3)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
