"""ChildrenMixIn: requests in forked children, which the sync and forking strategies have in common.

All children of a server write to one pipe, each a line when it is done: its pid, and a report of its request
where a hook needs it. The serving loop reads the pipe, so that the parent knows which child to reap. A child
that was killed wrote nothing; a check of all children at intervals finds it. So plugport reaps only children
that it forked, and needs no SIGCHLD.

What parent and child write after a fork is copied page by page, which is most of what a fork costs: so both
do as little as they can, and nothing for each child that can be done for several.
"""

from __future__ import annotations

import json
import logging
import math
import os
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated, NoReturn

from plugport import Help, RequestContext
from plugport.contracts import (
    NO_HOOKS,
    READ,
    ClientAddress,
    Loop,
    Outcome,
    Request,
    RequestHandedOver,
    TimerHandle,
)
from plugport.errors import ChildError
from plugport.serving import blocking_poller, has_periodic_work, not_each_turn

if TYPE_CHECKING:
    from signal import pthread_sigmask

    from plugport import BaseServer as _Server
else:
    try:
        # signal.pthread_sigmask() makes enumerations of the result: pages to copy, twice for each fork.
        from _signal import pthread_sigmask
    except ImportError:  # another interpreter, or a platform without fork()
        pthread_sigmask = getattr(signal, "pthread_sigmask", None)

    _Server = object

__all__ = ["ChildrenMixIn"]

logger = logging.getLogger("plugport.children")

#: The signals that unwind the handler in a child.
_STOP_SIGNALS = (int(signal.SIGINT), int(signal.SIGTERM))
_BLOCK, _SET = int(getattr(signal, "SIG_BLOCK", 0)), int(getattr(signal, "SIG_SETMASK", 0))
#: Seconds between two checks of a child that is about to exit.
_EXIT_CHECK = 0.01
#: Seconds between two checks of all children.
_CHECK_INTERVAL = 0.2
#: Characters of an error's message in a report, and bytes of a report: up to PIPE_BUF a write is atomic
#: (pipe(7)).
_MAX_MESSAGE = 1000
_MAX_REPORT = getattr(select, "PIPE_BUF", 512)


class Child:
    """One forked child: its pid, its request, and the report of that."""

    __slots__ = ("context", "pid", "report")

    def __init__(self, pid: int, context: RequestContext | None) -> None:
        self.pid = pid
        self.context = context
        self.report = b""


class ChildrenMixIn(_Server):
    """Forks children for requests, reads their reports, reaps them, and limits their number."""

    max_children: Annotated[
        int, Help("most children at once; at the limit the server stops accepting", gt=0)
    ] = 40
    block_on_close: Annotated[bool, Help("whether server_close() waits for the children")] = True

    #: The pids of the children that run; None before the first fork.
    active_children: set[int] | None = None

    _children: dict[int, Child]
    #: Children that are about to exit: they have reported.
    _exiting: tuple[Child, ...] = ()
    #: When _check_children() runs next, and when it checks all of them, by the monotonic clock.
    _next_check = math.inf
    _check_timer: TimerHandle | None = None
    _next_collection = 0.0
    #: The pipe that the children report to, (reader, writer), and the beginning of an incomplete line.
    _reports: tuple[int, int] | None = None
    _partial_report = b""
    #: In a child: the writing end of the pipe, and whether the report was written.
    _report_fd: int | None = None
    _reported = False
    _warned_of_threads = False

    # In the parent ------------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Return whether one more request may begin: there must be room for its child too."""
        if self.active_children and len(self.active_children) >= self.max_children:
            for child in self._exiting:
                self._reap(child)
            if len(self.active_children) >= self.max_children:
                return False
        return super().has_room()

    def fork_request(self, request: Request) -> bool:
        """Fork a child for *request*. Return True in the child, False in the parent.

        The parent keeps the record of the request open until the child has reported or exited, and closes its
        copy of the connection. Raises OSError if the system can't fork.
        """
        if self._check_timer is None:  # otherwise a recent fork has checked
            self._warn_of_threads()
        _flush_output()
        self.open_reports()
        # No signal handler may run in the child before _enter_child().
        mask = pthread_sigmask(_BLOCK, _STOP_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._enter_child()
                return True
        finally:
            pthread_sigmask(_SET, mask)
        if self.active_children is None:
            self.active_children = set()
            self._children = {}
        self.active_children.add(pid)
        context = self.active_requests.get(id(request))
        if context is not None:
            context.held = True
        self._children[pid] = Child(pid, context)
        if self._check_timer is None:
            self._schedule_check(_CHECK_INTERVAL)
        self.close_request(request)
        return False

    def open_reports(self) -> None:
        """Open the pipe that the children report to, if it is not open. Raises OSError."""
        if self._reports is None:
            self._reports = reader, _ = os.pipe()
            os.set_blocking(reader, False)  # the loop may report it when there is nothing
            self.watch(reader, self._read_reports)

    def hand_over(self, request: Request) -> None:
        """Fork inside a handler: return in the child, unwind the handler in the parent."""
        if self._report_fd is None and not self.fork_request(request):
            raise RequestHandedOver

    def _warn_of_threads(self) -> None:
        others = threading.active_count() - 1
        if others and not self._warned_of_threads:
            self._warned_of_threads = True
            logger.warning(
                "forking while %d other thread%s of this process run%s: a lock that one of them holds "
                "stays locked in the child",
                others,
                "" if others == 1 else "s",
                "s" if others == 1 else "",
            )

    def _read_reports(self, events: int = 0) -> None:
        """Read which children are about to exit, and their reports."""
        if self._reports is None:
            return
        try:
            data = os.read(self._reports[0], 65536)
        except BlockingIOError:
            return
        *lines, self._partial_report = (self._partial_report + data).split(b"\n")
        for line in lines:
            pid, _, report = line.partition(b" ")
            child = self._children.get(int(pid)) if pid.isdigit() else None
            if child is not None and child not in self._exiting:
                self._exiting += (child,)
                if report:
                    child.report = report
                    self._end_request_of(child)
        if self._exiting:
            self._schedule_check(_EXIT_CHECK)

    def _end_request_of(self, child: Child, unreported: Outcome = "aborted") -> None:
        context, child.context = child.context, None
        if context is None:
            return
        context.held = False
        request = context.request
        report = _parse(child.report)
        if report is None:
            context.outcome = context.outcome or unreported
        else:
            outcome, message, context.bytes_received, context.bytes_sent = report
            context.outcome = context.outcome or outcome
            if message is not None:
                self.fail_request(request, ChildError(message))
        self.end_request(request)

    def _reap(self, child: Child) -> None:
        """Reap a child, if it has exited."""
        try:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status) if pid else None
        except ChildProcessError:
            pid, code = child.pid, None  # it was reaped elsewhere
        if pid == 0:
            return
        if child not in self._exiting:
            self._read_reports()  # it may have reported since the loop polled
        self._exiting = tuple(other for other in self._exiting if other is not child)
        del self._children[child.pid]
        if self.active_children is not None:
            self.active_children.discard(child.pid)
        self._end_request_of(child, "completed" if code == 0 else "aborted")
        self.notify_room()  # its request may have ended before
        if self.hooks.child_exited is not None:
            self.hooks.child_exited(server=self, pid=child.pid, status=code)

    def collect_children(self, *, blocking: bool = False) -> None:
        """Reap the children that have exited; with *blocking*, wait until all have."""
        if self.active_children:
            for child in tuple(self._children.values()):
                self._reap(child)
                while blocking and child.pid in self.active_children:
                    # Not in waitpid(): the pipe may be full, and a child can't exit before it is read.
                    self._wait_for_reports()
                    self._read_reports()
                    self._reap(child)

    def _wait_for_reports(self) -> None:
        if self._reports is None:
            time.sleep(_EXIT_CHECK)
            return
        poller = blocking_poller()  # select() takes no descriptor above 1023
        poller.register(self._reports[0], READ, lambda events: None)
        poller.dispatch(_EXIT_CHECK)
        poller.close()

    def _schedule_check(self, seconds: float) -> None:
        """Have the serving loop call _check_children() in so many seconds at the latest."""
        when = time.monotonic() + seconds
        if when < self._next_check and self.serving_loop is not None:
            if self._check_timer is not None:
                self._check_timer.cancel()
            self._next_check = when
            self._check_timer = self.serving_loop.call_later(seconds, self._check_children)

    def _check_children(self) -> None:
        """Reap the children that are about to exit, and at intervals any that have exited."""
        self._next_check, self._check_timer = math.inf, None
        now = time.monotonic()
        if now >= self._next_collection:
            # A child that was killed has not reported.
            self._next_collection = now + _CHECK_INTERVAL
            self.collect_children()
        else:
            for child in self._exiting:
                self._reap(child)
        if self.active_children:
            self._schedule_check(_EXIT_CHECK if self._exiting else _CHECK_INTERVAL)

    @not_each_turn  # timers reap the children
    def service_actions(self) -> None:
        """Reap the children that have exited."""
        self.collect_children()
        super().service_actions()

    def enter_loop(self, loop: Loop) -> None:
        """Schedule the checks of children that run already."""
        super().enter_loop(loop)
        if not self.has_service_actions:
            self.has_service_actions = has_periodic_work(super().service_actions)
        if self.active_children:
            self._schedule_check(_EXIT_CHECK)

    def leave_loop(self, loop: Loop) -> None:
        """Cancel the checks."""
        if self._check_timer is not None:
            self._check_timer.cancel()
        self._next_check, self._check_timer = math.inf, None
        super().leave_loop(loop)

    def handle_request(self) -> None:
        """Handle one request, and reap the children that have exited, before and after."""
        self.collect_children()
        super().handle_request()
        self.collect_children()

    def handle_timeout(self) -> None:
        """Reap children when no request has come for ``timeout`` seconds."""
        self.collect_children()
        super().handle_timeout()

    def abort_request(self, context: RequestContext, *, force: bool = False) -> None:
        """Abort the connection, or end the child that has it: by SIGTERM, with *force* by SIGKILL."""
        if not context.held:
            super().abort_request(context, force=force)
            return
        for child in self._children.values():
            if child.context is context:
                try:
                    os.kill(child.pid, signal.SIGKILL if force else signal.SIGTERM)
                except ProcessLookupError:
                    pass  # it has just exited

    def server_close(self) -> None:
        """Take no more requests, wait for the children, close."""
        self.stop_listening()
        self.collect_children(blocking=self.block_on_close)
        if self._reports is not None:
            self.unwatch(self._reports[0])
            for end in self._reports:
                os.close(end)
            self._reports = None
        super().server_close()

    # In the child -------------------------------------------------------------------------------

    def _enter_child(self) -> None:
        if self._reports is not None:
            reader, self._report_fd = self._reports
            os.close(reader)
        self._reports = self._check_timer = self.active_children = None
        self.after_fork_in_child()
        hooks = self.hooks
        if hooks is not NO_HOOKS:
            self.hooks = hooks.in_child(self._report)
            if hooks.child_started is not None:
                hooks.child_started(server=self)

    def exit_child(
        self, request: Request, client_address: ClientAddress, error: BaseException | None = None
    ) -> NoReturn:
        """End the request in the child, with *error* if there is one, and exit: without one with status 0."""
        status = 1
        try:
            # A signal must not interrupt the exit.
            pthread_sigmask(_BLOCK, _STOP_SIGNALS)
            if self._report_fd is None and self.hooks is not NO_HOOKS:
                self.hooks = self.hooks.in_child(
                    self._report
                )  # the handler has forked itself: no parent reads reports
            if error is not None:
                self.fail_request(request, error)
                if isinstance(error, Exception):
                    self.handle_error(request, client_address)
                elif isinstance(error, SystemExit) and not error.code:
                    status = 0
            else:
                status = 0
            self.end_request(request)
            self.shutdown_request(request)
            _flush_output()
            if self._report_fd is not None and not self._reported:
                os.write(self._report_fd, b"%d\n" % os.getpid())
        finally:
            os._exit(status)

    def _report(self, context: RequestContext) -> None:
        if self._report_fd is None:
            return
        error = context.error
        message = None if error is None else f"{type(error).__name__}: {error}"[:_MAX_MESSAGE]
        report = [context.outcome, message, context.bytes_received, context.bytes_sent]
        while len(line := b"%d %s\n" % (os.getpid(), json.dumps(report).encode())) > _MAX_REPORT:
            report[1] = message = message[: len(message) // 2] if message else None
        os.write(self._report_fd, line)
        self._reported = True


def _parse(report: bytes) -> tuple[Outcome, str | None, int | None, int | None] | None:
    """Return (outcome, message, bytes received, bytes sent); None if the child did not report."""
    try:
        outcome, message, received, sent = json.loads(report)
    except (TypeError, ValueError):
        return None
    return outcome, message, received, sent


def _flush_output() -> None:
    # A buffer that is not flushed before fork() is written by both processes, before _exit() by none.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
