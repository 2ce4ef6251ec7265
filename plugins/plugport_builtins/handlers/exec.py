"""exec: a program for each connection, as inetd runs it."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Annotated, Any, ClassVar

from plugport import BaseRequestHandler, Help
from plugport.errors import OptionError

__all__ = ["ExecHandler"]

logger = logging.getLogger("plugport.handlers.exec")

#: Seconds between two looks where the system can't wait for a connection and a process at once.
_POLL = 0.05
#: The client has ended its side, or the connection is broken. The latter needs no asking for.
_HALF_CLOSED = getattr(select, "POLLRDHUP", 0)
_GONE = getattr(select, "POLLHUP", 0) | getattr(select, "POLLERR", 0)


class ExecHandler(BaseRequestHandler):
    """Runs a program with the connection as its standard input and output; its errors go to the server's.

    No shell is involved. The program has a session of its own, and is ended, with what it started
    there, when the client goes: by SIGTERM, then by SIGKILL. The end of the client's input is not
    yet its going, but a client that has gone for good often shows no more than that; so the
    program then has ``eof_timeout`` seconds to finish.
    """

    transports = frozenset({"stream"})

    argv: Annotated[list[str], Help("the program and its arguments")] = []
    eof_timeout: Annotated[
        float | None, Help("seconds to finish in after the client's input has ended (null: no limit)", ge=0)
    ] = 10.0
    # Less than a service that was told to stop leaves to a request that it has cut.
    kill_timeout: Annotated[float, Help("seconds between SIGTERM and SIGKILL", ge=0)] = 1.0

    _program: ClassVar[str]

    @classmethod
    def check_options(cls) -> None:
        """Find the program. Raises OptionError if there is none to find."""
        if not cls.argv:
            raise OptionError("exec: no program to run; name it with -o argv='PROGRAM ARGUMENT ...'")
        program = shutil.which(cls.argv[0])
        if program is None:
            raise OptionError(f"exec: no program {cls.argv[0]!r} that can be run")
        cls._program = program

    def handle(self) -> None:
        """Run the program to its end, or to the client's."""
        connection = self.request
        # Shared with the program, which expects to block.
        connection.setblocking(True)
        process = subprocess.Popen(
            self.argv, executable=self._program, stdin=connection, stdout=connection, start_new_session=True
        )
        try:
            self._attend(process, connection)
        finally:
            # If the server itself is being ended (SystemExit), there is less time still.
            self._end(process, min(self.kill_timeout, 0.5) if sys.exception() else self.kill_timeout)
        status = process.returncode
        if status:
            logger.info("%s for %s ended with status %d", self.argv[0], self.client_address, status)

    def _attend(self, process: subprocess.Popen[bytes], connection: Any) -> None:
        """Return when the program has exited, or should not go on."""
        with _Watch(process, connection) as watch:
            if not watch.wait(None):
                return
            # The client's input has ended.
            if self.eof_timeout is None:
                watch.wait(None)
            else:
                watch.wait(self.eof_timeout)

    def _end(self, process: subprocess.Popen[bytes], patience: float) -> None:
        """End what still runs of the program's session, and reap the program."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is not None:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        process.wait()


class _Watch:
    """Waits for a process and its client's connection at once."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self._process = process
        self._poll = select.poll()
        self._connection = connection.fileno()
        self._poll.register(self._connection, _HALF_CLOSED)
        self._pidfd: int | None = None
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(process.pid)
            self._poll.register(self._pidfd, select.POLLIN)

    def wait(self, timeout: float | None) -> bool:
        """Return True when the client's input ends, False when the program or the client has gone.

        False also after *timeout* seconds. The end of input is told once.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._process.poll() is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            if self._pidfd is None:
                left = _POLL if left is None else min(left, _POLL)
            for fd, events in self._poll.poll(None if left is None else left * 1000):
                if fd == self._connection:
                    if events & _GONE:
                        return False
                    if events & _HALF_CLOSED:
                        self._poll.modify(fd, 0)
                        return True
        return False

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
