"""LoadProcesses: the load, distributed over processes whose clients share one window."""

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

__all__ = ["LoadError", "LoadProcesses", "load_processes", "processors", "raise_descriptor_limit"]

#: Descriptors of a process that are not of connections.
_RESERVED_DESCRIPTORS = 100


class LoadError(PlugportError):
    """The load needs more open files than the limit, or a process of it has ended early."""


class LoadProcesses:
    """The processes of a load. Each method is for all of them."""

    def __init__(self, processes: list[subprocess.Popen[bytes]]) -> None:
        self._processes = processes

    def prepare(self, jobs: list[Job]) -> None:
        """Send each process its job, and wait until all are ready. Raises LoadError."""
        for process, job in zip(self._processes, jobs, strict=True):
            self._send(process, job)
        for process in self._processes:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise _exit_error(process)

    def start(self, window: Window) -> None:
        """Start the load. Answers within *window* are counted. Raises LoadError."""
        for process in self._processes:
            self._send(process, window)

    def finish(self) -> Tally:
        """Wait for the last answers and the end of the processes; return the counts. Raises LoadError."""
        results = [process.communicate() for process in self._processes]
        for process, (_, errors) in zip(self._processes, results, strict=True):
            if process.returncode:
                raise _exit_error(process, errors)
        return Tally.total(pickle.loads(output) for output, _ in results)

    def _send(self, process: subprocess.Popen[bytes], message: Job | Window) -> None:
        assert process.stdin is not None
        try:
            pickle.dump(message, process.stdin)
            process.stdin.flush()
        except BrokenPipeError:
            raise _exit_error(process) from None


@contextmanager
def load_processes(count: int) -> Iterator[LoadProcesses]:
    """Start *count* processes, which are killed at the end of the block."""
    with ExitStack() as stack:
        processes = []
        for _ in range(count):
            process = subprocess.Popen(
                # -P: a file of the current directory must not shadow a module.
                [sys.executable, "-P", "-m", "plugport_tools.bench.load"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,  # Ctrl-C reaches the command only, which then ends its children
            )
            stack.callback(_kill, process)
            processes.append(process)
        yield LoadProcesses(processes)


def raise_descriptor_limit(connections: int) -> None:
    """Raise the soft limit of open files, which children inherit, if *connections* need it.

    Raises LoadError if they need more than the hard limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _RESERVED_DESCRIPTORS
    if resource.RLIM_INFINITY in (soft, hard) or needed <= hard:
        if soft != resource.RLIM_INFINITY and needed > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        return
    raise LoadError(
        f"{connections} connections need {needed} open files, and the limit is {hard} (ulimit -Hn); "
        "give fewer with --connections"
    )


def processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:
                pass  # unsent data is lost
    process.wait()


def _exit_error(process: subprocess.Popen[bytes], errors: bytes | None = None) -> LoadError:
    if errors is None:
        _, errors = process.communicate()
    lines = errors.decode(errors="replace").strip().splitlines() or [f"status {process.returncode}"]
    return LoadError(f"a process of the load has ended early: {lines[-1]}")
