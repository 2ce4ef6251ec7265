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
from collections.abc import Callable
from typing import Annotated, ClassVar

from plugport import BaseRequestHandler, Help
from plugport.contracts import StreamRequest
from plugport.errors import OptionError

__all__ = ["ExecHandler"]

logger = logging.getLogger("plugport.handlers.exec")

#: Seconds between two checks, where the system has no call that waits for all events at once.
_CHECK_INTERVAL = 0.05
#: Seconds between two checks of a process group that is ending, and how long they go on: where init does not
#: reap orphans, as in some containers, dead processes stay in the group.
_GROUP_CHECK_INTERVAL = 0.01
_GROUP_CHECK_LIMIT = 1.0
#: The longest kill_timeout, in seconds, of a request that was aborted: the server waits a second for its end.
_ABORTED_KILL_TIMEOUT = 0.5
#: The client has ended its side. poll() reports the other two without being asked.
_READ_HANGUP = getattr(select, "POLLRDHUP", 0)
_HANGUP = getattr(select, "POLLHUP", 0)
_ERROR = getattr(select, "POLLERR", 0)


class ExecHandler(BaseRequestHandler):
    """Runs a program with the connection as its standard input and output; its errors go to the server's.

    No shell is involved. The program gets a session of its own. When the client closes the connection, the
    program and the processes that it has started in its session are ended, by SIGTERM and then SIGKILL. The
    end of the client's input alone does not end the program, because its output may still be read. But a
    client that has closed the connection often shows no more than that, so the program then has
    ``eof_timeout`` seconds to finish.
    """

    transports = frozenset({"stream"})
    needs_thread = True
    needs_descriptor = True

    argv: Annotated[list[str], Help("program and its arguments")] = []
    eof_timeout: Annotated[
        float | None,
        Help("seconds to finish after the client's input has ended (null: no limit)", ge=0),
    ] = 10.0
    kill_timeout: Annotated[float, Help("seconds between SIGTERM and SIGKILL (0: SIGKILL at once)", ge=0)] = (
        1.0
    )

    _program: ClassVar[str | None] = None

    @classmethod
    def check_options(cls) -> None:
        """Find the program. Raises OptionError if there is none."""
        if not cls.argv:
            raise OptionError("exec: no program to run; name it with -o argv='PROGRAM ARGUMENT ...'")
        cls._program = shutil.which(cls.argv[0])
        if cls._program is None:
            raise OptionError(
                f"exec: no program {cls.argv[0]!r} that can be run; name one on the PATH, or by its path"
            )

    def handle(self) -> None:
        """Run the program until it exits or the client closes the connection.

        Raises ConnectionError if the client closed it first, TimeoutError if the program still ran after
        ``eof_timeout``.
        """
        connection: StreamRequest = self.request
        # The program shares the descriptor, and expects it to block.
        connection.setblocking(True)
        with contextlib.suppress(OSError):
            # So that a peer that has vanished is found.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        fd = connection.fileno()
        process = subprocess.Popen(
            self.argv, executable=self._program, stdin=fd, stdout=fd, start_new_session=True
        )
        try:
            self._wait_for_exit(process, connection)
        finally:
            if process.returncode is None:
                is_aborted = self._is_aborted() or not isinstance(sys.exception(), Exception)
                limit = _ABORTED_KILL_TIMEOUT if is_aborted else self.kill_timeout
                _end(process, min(self.kill_timeout, limit))
            if process.returncode:
                logger.info(
                    "%s for %s ended with status %d", self.argv[0], self.client_address, process.returncode
                )

    def _wait_for_exit(self, process: subprocess.Popen[bytes], connection: StreamRequest) -> None:
        """Return when the program has exited; raise if it must be ended."""
        with ProgramWatch(process, connection, self._is_aborted) as watch:
            if not watch.wait(None) and not watch.wait(self.eof_timeout):
                raise TimeoutError(
                    f"{self.argv[0]} still ran {self.eof_timeout:g} s after the end of the client's input"
                )

    def _is_aborted(self) -> bool:
        """Return whether the server has aborted this request."""
        context = self.server.active_requests.get(id(self.request))
        return context is not None and context.outcome is not None


class ProgramWatch:
    """Waits for a process and for the connection of its client at once.

    *is_aborted* returns whether the server has aborted the request.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        connection: StreamRequest,
        is_aborted: Callable[[], bool],
    ) -> None:
        self._process = process
        self._is_aborted = is_aborted
        self._poll = select.poll()
        self._connection = connection.fileno()
        self._poll.register(self._connection, _READ_HANGUP)
        # On a unix socket POLLHUP may also mean that the server has shut the connection down.
        self._hangup_is_close = connection.family != getattr(socket, "AF_UNIX", None)
        self._input_ended = False
        #: Whether poll() reports all events, so that none need be checked for at intervals.
        self._polls_all = False
        self._pidfd: int | None = None
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):  # a sandbox may not allow it
                self._pidfd = os.pidfd_open(process.pid)
                self._poll.register(self._pidfd, select.POLLIN)
                self._polls_all = True

    def wait(self, timeout: float | None) -> bool:
        """Return True when the program has exited, False after *timeout* seconds (None: no limit).

        Returns False as well when the client's input ends, once. Raises ConnectionError when the client has
        closed the connection, or the server has aborted the request.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._polls_all:
                left = _CHECK_INTERVAL if left is None else min(left, _CHECK_INTERVAL)
            ready = dict(self._poll.poll(None if left is None else left * 1000))
            if self._process.poll() is not None:
                return True
            if self._is_aborted():
                raise ConnectionAbortedError("the server has aborted the connection")
            if self._connection in ready and self._note_events(ready[self._connection]):
                return False
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def _note_events(self, events: int) -> bool:
        """Note *events* of the connection; return whether they are the first that the input has ended."""
        if events & _ERROR or (events & _HANGUP and self._hangup_is_close):
            raise ConnectionResetError("the client has closed the connection")
        if events & _HANGUP:
            # poll() would return at once from now on, so an abort must be checked for.
            self._poll.unregister(self._connection)
            self._polls_all = False
        else:
            self._poll.modify(self._connection, 0)
        is_first = not self._input_ended
        self._input_ended = True
        return is_first

    def __enter__(self) -> ProgramWatch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)


def _end(process: subprocess.Popen[bytes], timeout: float) -> None:
    """End the process and its group, by SIGTERM and after *timeout* seconds by SIGKILL, and reap it.

    What is left of the group after the process has exited is killed after _GROUP_CHECK_LIMIT at the latest.
    """
    deadline = time.monotonic() + timeout
    is_alive = True
    try:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
        deadline = min(deadline, time.monotonic() + _GROUP_CHECK_LIMIT)
        while (is_alive := _signal_group(process, 0)) and time.monotonic() < deadline:
            time.sleep(_GROUP_CHECK_INTERVAL)
    finally:
        if is_alive:
            _signal_group(process, signal.SIGKILL)
            process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send the signal *number* to the group of *process*; return whether the group has members.

    While it has, the system gives its number to no other group.
    """
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
