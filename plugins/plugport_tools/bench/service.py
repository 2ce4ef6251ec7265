"""The service that is measured: ``plugport serve`` in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from plugport.errors import PlugportError

__all__ = ["ServiceError", "ServiceProcess", "run_service"]

#: Seconds that a service may take until it listens: imports may be slow.
_START_PATIENCE = 60.0
#: Seconds that requests have to end, and seconds that the process has after them.
_GRACE, _STOP_PATIENCE = 1.0, 5.0
#: Seconds between two checks whether the service listens.
_POLL_INTERVAL = 0.005
#: Bytes of the end of a log that are read.
_TAIL = 8192


class ServiceError(PlugportError):
    """The service did not start, or has ended early."""


class ServiceProcess:
    """A running service. Its standard error is *log*."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self._process = process
        self._log = log
        self._log_begin = 0  # offset after the announcement, once there is one
        self.pid = process.pid

    def wait_until_listening(self) -> str:
        """Return the URL that the service announces. Raises ServiceError if it does not start."""
        deadline = time.monotonic() + _START_PATIENCE
        while True:
            ended = self._process.poll() is not None
            self._log.seek(0)
            found = re.search(rb"^listening on (\S.*)$", self._log.read(), re.MULTILINE)
            if found:
                self._log_begin = found.end()
                return os.fsdecode(found[1].rstrip())
            if ended:
                raise ServiceError(self._exit_reason())
            if time.monotonic() >= deadline:
                raise ServiceError(
                    f"the service did not listen within {_START_PATIENCE:g} s{self.last_output()}"
                )
            time.sleep(_POLL_INTERVAL)

    def check(self, patience: float = 0.0) -> None:
        """Raise ServiceError if the service has ended, or ends within *patience* seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
            raise ServiceError(self._exit_reason())

    def last_output(self) -> str:
        """Return ``; its log ends: LINE``, "" for an empty log."""
        line = self._last_line()
        return f"; its log ends: {line}" if line else ""

    def stop(self) -> None:
        """End the service with SIGTERM, then the process and its children with SIGKILL."""
        try:
            self._process.terminate()
            self._process.wait(_STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def _exit_reason(self) -> str:
        status = self._process.wait()
        line = self._last_line()
        if line.startswith("plugport: "):
            return line.removeprefix("plugport: ")
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return f"the service ended, {how}{self.last_output()}"

    def _last_line(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(self._log_begin, size - _TAIL))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""


@contextmanager
def run_service(
    global_options: Sequence[str], arguments: Sequence[str], folder: str
) -> Iterator[ServiceProcess]:
    """Run ``plugport serve`` with *arguments* until the end of the block; its log is a file in *folder*."""
    # -P: a file of the current directory must not shadow a module.
    command = [sys.executable, "-P", "-m", "plugport", *global_options]
    command += ["serve", f"--grace={_GRACE}", "--log-level=error", *arguments]
    path = os.path.join(folder, "log")
    # Two open files: reading must not move the offset at which the service writes.
    with open(path, "wb") as sink, open(path, "rb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=sink,
            process_group=0,  # Ctrl-C reaches the command only, which then ends its children
        )
        service = ServiceProcess(process, log)
        try:
            yield service
        finally:
            service.stop()
