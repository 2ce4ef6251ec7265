"""Listener: one server's place in a loop, from its first poll through the stages of a drain.

It decides when the server may accept, and enforces the request timeout. How requests are taken is in
:mod:`plugport.serving.intake`, the loop itself in :mod:`plugport.loop`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic
from typing import Protocol

from plugport.contracts.loops import ABORT_GRACE, READ, Loop
from plugport.loop.timers import shorter_wait
from plugport.serving.intake import Intake
from plugport.serving.interface import LoopServer

__all__ = ["Listener"]

logger = logging.getLogger("plugport.service")

#: Seconds between two calls of the service_actions hook.
SERVICE_HOOK_INTERVAL = 1.0
#: Seconds between two checks of a limit when nothing can wake the loop.
_BLIND_WAIT = 0.05
#: Turns that must all have brought as many requests as were asked for before more are: asking in vain
#: costs a system call.
_FULL_BURSTS = 4
#: Seconds by which a request timeout may be late, so that not each one costs a check of its own.
_EXPIRY_GRAIN = 0.05


class ListenerServer(LoopServer, Protocol):
    """A server with an intake."""

    intake: Intake


class Listener:
    """One server's place in a loop: serving, or draining. (plugport.contracts.LoopMember)

    A drain has these stages. *Last call*: accept what waits in the backlog, without serving it yet, so that
    connections that come meanwhile do not put off the end. *Finishing*: stop listening, serve those, and let
    the active requests end. At the deadline: abort them, abort them by force, give up.
    """

    def __init__(
        self, loop: Loop, server: ListenerServer, session: AbstractContextManager[None] | None
    ) -> None:
        """Enter *session*, then the loop. Without a session the server is polled once, and does not serve."""
        self.loop = loop
        self.server = server
        #: Times that the socket was readable since the last call began.
        self.handled = 0
        self.polled = True
        self.steady = False
        self._session = session
        self._polled_fd: int | None = None
        self._prepare: Callable[[float | None], float | None] = (
            self._prepare_accepting if session is None else self._prepare_serving
        )
        self._next_hook = 0.0
        self._next_expiry = 0.0
        self._burst = 1
        self._full_bursts = 0
        #: How many more requests the last call accepts; 0 outside of it.
        self._last_call = 0
        self._was_polled_in_last_call = False
        self._aborts = 0
        if session is not None:
            session.__enter__()
        try:
            server.enter_loop(loop)
        except BaseException:
            if session is not None:
                session.__exit__(None, None, None)
            raise
        self._intake = server.intake  # a strategy may have put its own there

    def prepare(self, timeout: float | None) -> float | None:
        """Decide what to poll for in the next turn; return the longest wait in seconds (None: for ever)."""
        if self._is_stopping():
            return 0.0  # settle() lets it go
        server = self.server
        self.steady = not (server.has_service_actions or server.drain_deadline is not None)
        timeout = self._prepare(timeout)
        if server.request_timeout is not None:
            timeout = self._expire_requests(timeout, server.request_timeout)
        return timeout

    def _expire_requests(self, timeout: float | None, limit: float) -> float:
        """Abort the requests that have taken too long; return how long the next check can wait."""
        now = monotonic()
        if now >= self._next_expiry:
            # A request that begins from now on has at least the whole limit.
            self._next_expiry = now + limit
            for context in tuple(self.server.active_requests.values()):
                aborted_at = context.aborted_at
                deadline = context.started + limit if aborted_at is None else aborted_at + ABORT_GRACE
                if deadline > now:
                    self._next_expiry = min(self._next_expiry, deadline)
                    continue
                if aborted_at is None:
                    context.aborted_at = now
                    self._next_expiry = min(self._next_expiry, now + ABORT_GRACE)
                    self.server.expire_request(context, f"it took longer than request_timeout = {limit} s")
                else:
                    context.aborted_at = math.inf
                    self.server.abort_request(context, force=True)
            # Many that end one after the other are checked together.
            self._next_expiry = max(self._next_expiry, now + min(limit / 10, _EXPIRY_GRAIN))
        return shorter_wait(timeout, self._next_expiry - now)

    def ready(self, events: int) -> None:
        """Take requests: the listening socket is readable."""
        server = self.server
        if server.stopping and self._session is not None:
            self.loop.reconsider()
            return  # bpo-35017: shutdown() during the wait comes first
        self.handled += 1
        intake = self._intake
        if self._last_call:
            intake.take_for_later()
            return
        taken = intake.take(self._burst)
        if (
            intake.back_off
            or self._is_stopping()  # the flag may have been set without waking the loop
            or not server.has_room()
        ):
            self.loop.reconsider()
        if taken < self._burst:
            self._burst = max(taken, 1)
            self._full_bursts = 0
        elif self._burst < intake.burst and not server.has_service_actions:
            self._full_bursts += 1
            if self._full_bursts > _FULL_BURSTS and self._session is not None:
                self._burst = min(self._burst * 2, intake.burst)
                self._full_bursts = 0

    def settle(self) -> None:
        """End the turn: do periodic work, or leave the loop after shutdown()."""
        server = self.server
        if self._is_stopping() or (self._polled_fd is not None and server.fileno() < 0):
            self.leave()
            return
        server.service_actions()
        hook = server.hooks.service_actions
        if hook is not None:
            now = monotonic()
            if now >= self._next_hook:
                self._next_hook = now + SERVICE_HOOK_INTERVAL
                hook(server=server)

    def leave(self) -> None:
        """Take the server out of the loop."""
        self._poll(False)
        if self._session is not None:
            # There is something where shutdown() came first, or a handler was broken off.
            self._intake.reject_all("the service has ended")
        self.loop.discard(self)
        try:
            self.server.leave_loop(self.loop)
        finally:
            session = self._session
            if session is not None:
                self.loop.end_session(lambda: session.__exit__(None, None, None))

    def abandon(self) -> None:
        """Close, in a forked child, the copies of what the server listens on and has accepted."""
        self.server.stop_listening()
        self._intake.abandon()

    def _is_stopping(self) -> bool:
        return self._session is not None and self.server.stopping

    def _poll(self, wanted: bool) -> None:
        if wanted and self._polled_fd is None:
            fd = self.server.fileno()
            self.loop.register(fd, READ, self.ready)
            self._polled_fd = fd
        elif not wanted and self._polled_fd is not None:
            self.loop.unregister(self._polled_fd)
            self._polled_fd = None

    # The stages ---------------------------------------------------------------------------------

    def _prepare_serving(self, timeout: float | None) -> float | None:
        if self.server.drain_deadline is not None:
            self._begin_drain(self.server.drain_deadline)
            return self._prepare(timeout)
        return self._prepare_accepting(timeout)

    def _begin_drain(self, deadline: float) -> None:
        server = self.server
        self._prepare = self._prepare_last_call
        self.handled = 0
        self._last_call = max(server.backlog(), 1)
        if server.active_requests:
            logger.info(
                "%s is stopping: active requests, %d, have %.0f s; a second signal aborts them",
                server.listening_url(),
                len(server.active_requests),
                max(deadline - monotonic(), 0.0),
            )
        if server.hooks.server_draining is not None:
            server.hooks.server_draining(server=server)
        server.notify_draining()

    def _prepare_accepting(self, timeout: float | None) -> float | None:
        """Poll the listening socket if there is room for a request and accepting works."""
        server, intake = self.server, self._intake
        if intake.queue and self._session is not None:
            intake.process_queued()
        wanted = server.has_room()
        if not wanted:
            server.wakes_at_end = True
            wanted = server.has_room()  # a request may have ended just before that was set
            if not (wanted or self.loop.can_wake):
                timeout = shorter_wait(timeout, _BLIND_WAIT)
        elif server.wakes_at_end:
            server.wakes_at_end = False
        if wanted and intake.queue:
            timeout = 0.0  # the next of them
        if intake.back_off:
            pause = intake.seconds_to_retry()
            if pause > 0:
                wanted = False
                timeout = shorter_wait(timeout, pause)
        if wanted is not (self._polled_fd is not None):
            self._poll(wanted)
        return timeout

    def _prepare_last_call(self, timeout: float | None) -> float | None:
        is_backlog_empty = self._was_polled_in_last_call and self.polled and not self.handled
        self._last_call = max(self._last_call - self.handled, 0)
        self.handled = 0
        left = self._seconds_to_deadline()
        if is_backlog_empty or left <= 0 or not self._last_call:
            self._last_call = 0
            self._poll(False)
            self.server.stop_listening()
            self.server.wakes_at_end = True
            self._prepare = self._prepare_finishing
            return self._prepare(timeout)
        pause = self._intake.seconds_to_retry()
        self._was_polled_in_last_call = pause <= 0
        if self._was_polled_in_last_call:
            self._poll(True)
            return 0.0
        self._poll(False)  # there are no descriptors: requests that were taken before may free some
        self.server.wakes_at_end = True
        return shorter_wait(shorter_wait(timeout, left), 0.0 if self._intake.process_queued() else pause)

    def _prepare_finishing(self, timeout: float | None) -> float | None:
        server, intake = self.server, self._intake
        if intake.process_queued():
            return 0.0
        if not server.active_requests and intake.is_empty():
            server.stopping = True
            return 0.0
        left = self._seconds_to_deadline()
        if left > 0:
            return shorter_wait(timeout, left)
        self._aborts += 1
        intake.reject_all("the service has ended")
        if self._aborts > 2 or not server.active_requests:
            server.stopping = True
            return 0.0
        server.abort_requests(force=self._aborts == 2)
        server.drain_deadline = monotonic() + ABORT_GRACE
        return shorter_wait(timeout, ABORT_GRACE)

    def _seconds_to_deadline(self) -> float:
        deadline = self.server.drain_deadline
        return 0.0 if deadline is None else deadline - monotonic()
