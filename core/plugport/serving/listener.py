"""Listener: one server's place in a loop, and what it needs of that loop.

It decides when the server may accept, backs off when the process is out of descriptors, keeps the
request timeout, and takes the server through its drain. The loop itself is in :mod:`plugport.loop.loop`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from plugport.contracts.loops import ABORT_GRACE, READ, Loop
from plugport.loop.timers import shorter_wait

__all__ = ["Listener"]

logger = logging.getLogger("plugport.service")

#: Seconds between two firings of the service_actions hook.
SERVICE_HOOK_INTERVAL = 1.0
#: Seconds between two looks at a limit when nothing can wake the loop.
_BLIND_WAIT = 0.05
#: Looks that must all have brought as many requests as were asked for, before more are: asking in vain
#: costs a system call.
_FULL_BURSTS = 4
#: Seconds by which a request timeout may be late, so that not each one costs a look at all.
_EXPIRY_GRAIN = 0.05


class Listener:
    """One server's place in a loop: serving, or on its way out.

    The way out of a drain: accept what already waits in the backlog, without serving it yet, so
    that who comes meanwhile does not put off the end (*last call*); stop listening, serve those,
    and let the active requests end (*finishing*); at the deadline cut them, force them, give up.
    """

    def __init__(self, loop: Loop, server: Any, session: AbstractContextManager[None] | None) -> None:
        self.loop = loop
        self.server = server
        self.handled = 0
        #: Whether the loop has looked at the socket since the last prepare(); one that has turns
        #: without a look in between says so.
        self.polled = True
        #: Whether what prepare() has decided stands until its wait is over or reconsider() is called.
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
        self._last_call = 0
        self._offered = False
        self._aborts = 0
        if session is not None:
            session.__enter__()
        try:
            server.enter_loop(loop)
        except BaseException:
            if session is not None:
                session.__exit__(None, None, None)
            raise

    def prepare(self, timeout: float | None) -> Any:
        """Decide what to poll for in the next turn, and for how many seconds at most (None: for ever)."""
        if self._stopping():
            return 0.0  # settle() lets it go
        server = self.server
        self.steady = not (server.has_service_actions or server.is_draining())
        timeout = self._prepare(timeout)
        if server.request_timeout is not None:
            timeout = self._expire_requests(timeout, server.request_timeout)
        return timeout

    def _expire_requests(self, timeout: float | None, limit: float) -> float:
        """Cut the requests that have taken too long; return how long the next look can wait."""
        now = time.monotonic()
        if now >= self._next_expiry:
            # A request that begins from now on has at least the whole limit.
            self._next_expiry = now + limit
            for context in tuple(self.server.active_requests.values()):
                deadline = (
                    context.deadline if context.aborted_at is None else context.aborted_at + ABORT_GRACE
                )
                if deadline > now:
                    self._next_expiry = min(self._next_expiry, deadline)
                    continue
                if context.aborted_at is None:
                    context.aborted_at = now
                    self._next_expiry = min(self._next_expiry, now + ABORT_GRACE)
                    self.server.expire_request(context, f"it took longer than request_timeout = {limit} s")
                else:
                    context.aborted_at = math.inf
                    self.server.abort_request(context, force=True)
            # Many that end one after the other are looked at together.
            self._next_expiry = max(self._next_expiry, now + min(limit / 10, _EXPIRY_GRAIN))
        return shorter_wait(timeout, self._next_expiry - now)

    def ready(self, events: int) -> None:
        """The listening socket is readable."""
        server = self.server
        if server._BaseServer__shutdown_request and self._session is not None:
            self.loop.reconsider()
            return  # bpo-35017: shutdown() during the wait comes first
        self.handled += 1
        if self._last_call:
            server.accept_for_later()
            return
        taken = server.take_requests(self._burst)
        if (
            server._accept_delay
            or self._stopping()  # whoever set the flag by himself has not woken the loop
            or not server.has_room()
        ):
            self.loop.reconsider()
        if taken < self._burst:
            self._burst = max(taken, 1)
            self._full_bursts = 0
        elif self._burst < server.burst and not server.has_service_actions:
            self._full_bursts += 1
            if self._full_bursts > _FULL_BURSTS and self._session is not None:
                self._burst = min(self._burst * 2, server.burst)
                self._full_bursts = 0

    def settle(self) -> None:
        """End the turn: periodic work, and shutdown()."""
        server = self.server
        if self._stopping() or (self._polled_fd is not None and server.fileno() < 0):
            self.leave()
            return
        server.service_actions()
        hook = server.hooks.service_actions
        if hook is not None:
            now = time.monotonic()
            if now >= self._next_hook:
                self._next_hook = now + SERVICE_HOOK_INTERVAL
                hook(server=server)

    def leave(self) -> None:
        """Take the server out of the loop."""
        self._poll(False)
        if self._session is not None:
            self.server.reject_accepted()  # shutdown(), or a handler that was broken off, came first
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
        self.server.abandon_accepted()

    def _stopping(self) -> bool:
        return self._session is not None and self.server._BaseServer__shutdown_request

    def _poll(self, wanted: bool) -> None:
        if wanted and self._polled_fd is None:
            fd = self.server.fileno()
            self.loop.register(fd, READ, self.ready)
            self._polled_fd = fd
        elif not wanted and self._polled_fd is not None:
            self.loop.unregister(self._polled_fd)
            self._polled_fd = None

    def _prepare_serving(self, timeout: float | None) -> float | None:
        server = self.server
        if server._drain_deadline is not None:
            self._prepare = self._prepare_last_call
            self.handled = 0
            self._last_call = max(getattr(server, "request_queue_size", 0), 1)
            if server.active_requests:
                left = server._drain_deadline - time.monotonic()
                logger.info(
                    "%s is stopping: active requests, %d, have %.0f s; a second signal cuts them",
                    server.listening_url(),
                    len(server.active_requests),
                    max(left, 0.0),
                )
            if server.hooks.server_draining is not None:
                server.hooks.server_draining(server=server)
            server.notify_draining()
            return self._prepare(timeout)
        return self._prepare_accepting(timeout)

    def _prepare_accepting(self, timeout: float | None) -> float | None:
        """Poll the listening socket if there is room for a request and accepting works."""
        server = self.server
        if server.accepted and self._session is not None:
            server.serve_accepted()
        wanted = server.has_room()
        if not wanted:
            server._waiting = True  # whoever ends a request wakes us; look again, one may just have
            wanted = server.has_room()
            if not (wanted or self.loop.can_wake):
                timeout = shorter_wait(timeout, _BLIND_WAIT)
        elif server._waiting:
            server._waiting = False
        if wanted and server.accepted:
            timeout = 0.0  # the next of them
        if server._accept_delay:
            pause = server._accept_resumes - time.monotonic()
            if pause > 0:
                wanted = False
                timeout = shorter_wait(timeout, pause)
        if wanted is not (self._polled_fd is not None):
            self._poll(wanted)
        return timeout

    def _prepare_last_call(self, timeout: float | None) -> float | None:
        emptied = self._offered and self.polled and not self.handled
        self._last_call = max(self._last_call - self.handled, 0)
        self.handled = 0
        left = self.server._drain_deadline - time.monotonic()
        if emptied or left <= 0 or not self._last_call:
            self._last_call = 0
            self._poll(False)
            self.server.stop_listening()
            self.server._waiting = True
            self._prepare = self._prepare_finishing
            return self._prepare(timeout)
        pause = self.server._accept_resumes - time.monotonic()
        self._offered = pause <= 0
        if self._offered:
            self._poll(True)
            return 0.0
        self._poll(False)  # there are no descriptors: those that are taken already may set some free
        self.server._waiting = True
        return shorter_wait(shorter_wait(timeout, left), 0.0 if self.server.serve_accepted() else pause)

    def _prepare_finishing(self, timeout: float | None) -> float | None:
        server = self.server
        if server.serve_accepted():
            return 0.0
        if not (server.active_requests or server.accepted or server.waiting):
            server._BaseServer__shutdown_request = True
            return 0.0
        left = server._drain_deadline - time.monotonic()
        if left > 0:
            return shorter_wait(timeout, left)
        self._aborts += 1
        server.reject_accepted()
        if self._aborts > 2 or not server.active_requests:
            server._BaseServer__shutdown_request = True
            return 0.0
        server.abort_requests(force=self._aborts == 2)
        server._drain_deadline = time.monotonic() + ABORT_GRACE
        return shorter_wait(timeout, ABORT_GRACE)
