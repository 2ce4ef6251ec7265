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
from typing import Annotated, Any, ClassVar

from plugport import BaseRequestHandler, Help
from plugport.errors import OptionError

__all__ = ["ExecHandler"]

logger = logging.getLogger("plugport.handlers.exec")

#: Seconds between two looks where the system can't wait for all that matters at once.
_POLL = 0.05
#: Seconds between two looks at what a program has left behind, and how long it is looked at: an init
#: that does not reap orphans, as some containers have, makes dead ones look alive.
_END_POLL = 0.01
_ORPHANS_PATIENCE = 1.0
#: What remains of kill_timeout, in seconds, when the server ends: it leaves a second to what it has cut.
_DRAIN_POLL = 0.5
#: The client has ended its side. The other events need no asking for.
_READ_HANGUP = getattr(select, "POLLRDHUP", 0)
_HANGUP = getattr(select, "POLLHUP", 0)
_ERROR = getattr(select, "POLLERR", 0)


class ExecHandler(BaseRequestHandler):
    """Runs a program with the connection as its standard input and output; its errors go to the server's.

    No shell is involved. The program has a session of its own, and is ended, with what it started
    there, when the client goes: by SIGTERM, then by SIGKILL. The end of the client's input is not
    yet its going, but a client that has gone for good often shows no more than that; so the
    program then has ``eof_timeout`` seconds to finish.
    """

    transports = frozenset({"stream"})
    needs_thread = True
    needs_descriptor = True

    argv: Annotated[list[str], Help("the program and its arguments")] = []
    eof_timeout: Annotated[
        float | None, Help("seconds to finish in after the client's input has ended (null: no limit)", ge=0)
    ] = 10.0
    kill_timeout: Annotated[float, Help("seconds between SIGTERM and SIGKILL", ge=0)] = 1.0

    _program: ClassVar[str | None] = None

    @classmethod
    def check_options(cls) -> None:
        """Find the program. Raises OptionError if there is none to find."""
        if not cls.argv:
            raise OptionError("exec: no program to run; name it with -o argv='PROGRAM ARGUMENT ...'")
        cls._program = shutil.which(cls.argv[0])
        if cls._program is None:
            raise OptionError(f"exec: no program {cls.argv[0]!r} that can be run")

    def handle(self) -> None:
        """Run the program to its end, or to the client's.

        Raises ConnectionError if the client has gone before, TimeoutError if only ``eof_timeout``
        has ended the program.
        """
        connection = self.request
        # Shared with the program, which expects to block.
        connection.setblocking(True)
        with contextlib.suppress(OSError):
            # A peer that has died without a word shows as an error in the end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        process = subprocess.Popen(
            self.argv, executable=self._program, stdin=connection, stdout=connection, start_new_session=True
        )
        try:
            self._attend(process, connection)
        finally:
            if process.returncode is None:
                hurried = self._is_cut() or not isinstance(sys.exception(), Exception)
                _end(process, min(self.kill_timeout, _DRAIN_POLL) if hurried else self.kill_timeout)
            if process.returncode:
                logger.info(
                    "%s for %s ended with status %d", self.argv[0], self.client_address, process.returncode
                )

    def _attend(self, process: subprocess.Popen[bytes], connection: Any) -> None:
        """Return when the program has exited; raise if it should not go on."""
        with _Watch(process, connection, self._is_cut) as watch:
            if not watch.wait(None) and not watch.wait(self.eof_timeout):
                raise TimeoutError(
                    f"{self.argv[0]} still ran {self.eof_timeout:g} s after the end of the client's input"
                )

    def _is_cut(self) -> bool:
        """Whether the server has given up this request."""
        context = self.server.active_requests.get(id(self.request))
        return context is not None and context.outcome is not None


class _Watch:
    """Waits for a process and its client's connection at once.

    A wait raises ConnectionError when the client has gone, or the server has cut the connection.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], connection: socket.socket, is_cut: Callable[[], bool]
    ) -> None:
        self._process = process
        self._is_cut = is_cut
        self._poll = select.poll()
        self._connection = connection.fileno()
        self._poll.register(self._connection, _READ_HANGUP)
        # A close() of the other end of a unix socket looks as a cut does.
        self._hangup_is_end = connection.family != getattr(socket, "AF_UNIX", None)
        self._input_ended = False
        #: Whether poll() tells of all that may happen.
        self._hears_all = False
        self._pidfd: int | None = None
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):  # a sandbox may not know it
                self._pidfd = os.pidfd_open(process.pid)
                self._poll.register(self._pidfd, select.POLLIN)
                self._hears_all = True

    def wait(self, timeout: float | None) -> bool:
        """Return whether the program has exited: True once it has, False after *timeout* seconds.

        False also when the client's input ends; that is told once.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._hears_all:
                left = _POLL if left is None else min(left, _POLL)
            ready = dict(self._poll.poll(None if left is None else left * 1000))
            if self._process.poll() is not None:
                return True
            if self._is_cut():
                raise ConnectionAbortedError("the server has cut the connection")
            if self._connection in ready and self._has_just_ended(ready[self._connection]):
                return False
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def _has_just_ended(self, events: int) -> bool:
        """Whether *events* of the connection are news of the end of the client's input."""
        if events & _ERROR or (events & _HANGUP and self._hangup_is_end):
            raise ConnectionResetError("the client has gone")
        if events & _HANGUP:
            # From now on it would be told all the time, and hide a cut.
            self._poll.unregister(self._connection)
            self._hears_all = False
        else:
            self._poll.modify(self._connection, 0)
        is_news = not self._input_ended
        self._input_ended = True
        return is_news

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)


def _end(process: subprocess.Popen[bytes], patience: float) -> None:
    """End the process and its group: by SIGTERM, and after *patience* seconds by SIGKILL. Reaps it.

    What is left of the group when the process has gone gets no more than _ORPHANS_PATIENCE.
    """
    deadline = time.monotonic() + patience
    anyone = True
    try:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        deadline = min(deadline, time.monotonic() + _ORPHANS_PATIENCE)
        while (anyone := _signal_group(process, 0)) and time.monotonic() < deadline:
            time.sleep(_END_POLL)
    finally:
        if anyone:
            _signal_group(process, signal.SIGKILL)
            process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to all of the group; return whether anybody is left to get it.

    The group keeps its number while it has members: nobody else can be hit before.
    """
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
