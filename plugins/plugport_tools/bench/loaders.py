"""LoadProcesses: the load, spread over processes of its own, whose clients act in one window."""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from plugport.errors import PlugportError
from plugport_tools.bench.load import Job
from plugport_tools.bench.tally import Tally, Window

__all__ = ["LoadError", "LoadProcesses", "load_processes", "make_room", "processors"]

#: Descriptors that a process needs besides those of its connections.
_OTHERS = 100


class LoadError(PlugportError):
    """There can be no such load, or a process of it has ended before its time."""


class LoadProcesses:
    """The processes; what they are asked goes to all of them."""

    def __init__(self, processes: list[subprocess.Popen[bytes]]) -> None:
        self._processes = processes

    def prepare(self, jobs: list[Job]) -> None:
        """Give each its job, and wait until all are ready."""
        for process, job in zip(self._processes, jobs, strict=True):
            self._tell(process, job)
        for process in self._processes:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise _ended(process)

    def begin(self, window: Window) -> None:
        """Have the load begin now; what counts is within *window*."""
        for process in self._processes:
            self._tell(process, window)

    def finish(self) -> Tally:
        """Wait for the last answers, have the connections closed, and return what was counted."""
        results = [process.communicate() for process in self._processes]
        for process, (_, complaint) in zip(self._processes, results, strict=True):
            if process.returncode:
                raise _ended(process, complaint)
        return Tally.total(pickle.loads(output) for output, _ in results)

    def _tell(self, process: subprocess.Popen[bytes], what: Job | Window) -> None:
        assert process.stdin is not None
        try:
            pickle.dump(what, process.stdin)
            process.stdin.flush()
        except BrokenPipeError:
            raise _ended(process) from None


@contextmanager
def load_processes(count: int) -> Iterator[LoadProcesses]:
    """Start *count* processes; none of them outlives the block."""
    with ExitStack() as stack:
        processes = []
        for _ in range(count):
            process = subprocess.Popen(
                # -P: a file of the user's folder must not take a module's place.
                [sys.executable, "-P", "-m", "plugport_tools.bench.load"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,  # Ctrl-C is for the command alone, which ends the others in order
            )
            stack.callback(_end, process)
            processes.append(process)
        yield LoadProcesses(processes)


def make_room(connections: int) -> None:
    """Raise the limit of open files, which children inherit, if so many *connections* need it.

    Raises LoadError if the system does not let it be raised as far.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _OTHERS
    if resource.RLIM_INFINITY in (soft, hard) or needed <= hard:
        if soft != resource.RLIM_INFINITY and needed > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        return
    raise LoadError(
        f"{connections} connections need {needed} open files, and the limit is {hard} (ulimit -Hn); "
        "give fewer with --connections"
    )


def processors() -> int:
    """Return how many processors there are for this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:
                pass  # what was still to be written to it
    process.wait()


def _ended(process: subprocess.Popen[bytes], complaint: bytes | None = None) -> LoadError:
    if complaint is None:
        _, complaint = process.communicate()
    lines = complaint.decode(errors="replace").strip().splitlines() or [f"status {process.returncode}"]
    return LoadError(f"a process of the load has ended before its time: {lines[-1]}")
