"""ServerLoop: one poll over the listening sockets of one or more servers, and what these watch besides.

The strategies that keep BaseServer.serve_forever() run in it. It decides when a server may accept,
backs off when the process is out of descriptors, and takes a server through its drain.
"""

from __future__ import annotations

import heapq
import math
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from plugport.poller import READ, Callback, blocking_poller, make_poller

__all__ = ["ABORT_GRACE", "Listener", "Loop", "ServerLoop", "Timer"]

#: Seconds that aborted requests have to end, once after they are cut and once after they are forced.
ABORT_GRACE = 1.0
#: Seconds between two firings of the service_actions hook.
SERVICE_HOOK_INTERVAL = 1.0
#: Seconds between two looks at a limit when nothing can wake the loop.
_BLIND_WAIT = 0.05
#: Seconds by which a request timeout may be late, so that not each one costs a look at all.
_EXPIRY_GRAIN = 0.05


class Loop(Protocol):
    """What a server and its Listener need of the loop that they are in."""

    #: Whether wake() reaches the loop.
    can_wake: bool

    def wake(self) -> None:
        """End the current wait. Safe from any thread and from a signal handler."""

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """Call *callback* with what has happened when *fd* is ready for *events* (READ, WRITE)."""

    def modify(self, fd: int, events: int) -> None:
        """Watch *fd* for other *events*."""

    def unregister(self, fd: int) -> None:
        """No longer watch *fd*; to be called before it is closed."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call *callback* in this thread, after what is being called now."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Call *callback* in this thread in so many seconds; return a timer with cancel()."""

    def discard(self, listener: Listener) -> None:
        """Stop polling for a server."""

    def abandon(self) -> None:
        """Release, in a forked child, the loop's descriptors and the listening sockets of its servers."""


class Timer:
    """A call to come."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Let it not come."""
        self.callback = None

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when


class ServerLoop:
    """Polls for servers until each has been shut down or has drained.

    With *waker* the loop can be woken from other threads and from signal handlers; without, it
    takes no descriptors of its own.
    """

    def __init__(self, *, waker: bool = True) -> None:
        self.can_wake = waker
        self._listeners: list[Listener] = []
        self._timers: list[Timer] = []
        self._soon: deque[Callable[[], None]] = deque()
        self.call_soon = self._soon.append
        self._sockets: tuple[socket.socket, ...] = ()
        poller = make_poller() if waker else blocking_poller()
        self.register, self.modify, self.unregister = poller.register, poller.modify, poller.unregister
        self._poller = poller
        if waker:
            wakes, self._waker = self._sockets = socket.socketpair()
            for end in self._sockets:
                end.setblocking(False)
            self.register(wakes.fileno(), READ, self._woken)

    def wake(self) -> None:
        """End the current wait. Safe from any thread and from a signal handler."""
        if self.can_wake:
            try:
                self._waker.send(b"\0")
            except OSError:
                pass  # full: it will wake; closed: it has ended

    def _woken(self, events: int) -> None:
        try:
            self._sockets[0].recv(4096)
        except OSError:
            pass

    def add(self, server: Any, session: AbstractContextManager[None] | None = None) -> Listener:
        """Poll for *server* from now on; *session* is entered now and left when the server leaves.

        Without a session the server is not serving, only looked at once: shutdown() is for others.
        """
        listener = Listener(self, server, session)
        self._listeners.append(listener)
        return listener

    def discard(self, listener: Listener) -> None:
        """Stop polling for a server."""
        self._listeners.remove(listener)

    def run(self, poll_interval: float) -> None:
        """Turn until no server is left."""
        listeners = self._listeners
        while listeners:
            self.poll(poll_interval)
            for listener in tuple(listeners):
                listener.settle()

    def poll(self, timeout: float | None) -> None:
        """Wait for at most *timeout* seconds (None: for ever) and do what is ready to be done."""
        for listener in self._listeners:
            timeout = listener.prepare(timeout)
        soon = self._soon
        if self._timers:
            timeout = self._run_timers(timeout)
        for callback, events in self._poller.poll(0.0 if soon else timeout):
            callback(events)
        # Only those that are here now: what they add waits for the next turn, and starves nobody.
        for _ in range(len(soon)):
            soon.popleft()()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call *callback* in this thread in so many seconds, unless the timer is cancelled."""
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def _run_timers(self, timeout: float | None) -> float | None:
        """Call what is due; return how long the next one can wait, *timeout* at most."""
        timers = self._timers
        now = time.monotonic()
        while timers and (timers[0].callback is None or timers[0].when <= now):
            callback = heapq.heappop(timers).callback
            if callback is not None:
                callback()
        return _sooner(timeout, timers[0].when - now) if timers else timeout

    def close(self) -> None:
        """Take all servers out, and release the descriptors."""
        for listener in tuple(self._listeners):
            listener.leave()
        while self._soon:  # what their leaving has brought about
            self._soon.popleft()()
        self._release()

    def abandon(self) -> None:
        """Release, in a forked child, the descriptors and the listening sockets of all servers."""
        for listener in self._listeners:
            listener.server.stop_listening()
        self._release()

    def _release(self) -> None:
        self._poller.close()
        for end in self._sockets:
            end.close()


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
        self._session = session
        self._polled_fd: int | None = None
        self._prepare: Callable[[float | None], float | None] = (
            self._prepare_accepting if session is None else self._prepare_serving
        )
        self._next_hook = 0.0
        self._next_expiry = 0.0
        self._last_call = 0
        self._offered = False
        self._aborts = 0
        if session is not None:
            session.__enter__()
        server.enter_loop(loop)

    def prepare(self, timeout: float | None) -> float | None:
        """Decide what to poll for in the next turn, and for how long at most."""
        if self._stopping():
            return 0.0  # settle() lets it go
        timeout = self._prepare(timeout)
        server = self.server
        if server.longest_wait is not None:
            timeout = _sooner(timeout, server.longest_wait)
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
                deadline = context.deadline if context.cut_at is None else context.cut_at + ABORT_GRACE
                if deadline > now:
                    self._next_expiry = min(self._next_expiry, deadline)
                    continue
                if context.cut_at is None:
                    context.cut_at = now
                    self._next_expiry = min(self._next_expiry, now + ABORT_GRACE)
                    self.server.expire_request(context, f"it took longer than request_timeout = {limit} s")
                else:
                    context.cut_at = math.inf
                    self.server.abort_request(context, force=True)
            # Many that end one after the other are looked at together.
            self._next_expiry = max(self._next_expiry, now + min(limit / 10, _EXPIRY_GRAIN))
        return _sooner(timeout, self._next_expiry - now)

    def ready(self, events: int) -> None:
        """The listening socket is readable."""
        if self._stopping():
            return  # bpo-35017: shutdown() during the wait comes first
        self.handled += 1
        if self._prepare == self._prepare_last_call:
            self.server.accept_for_later()
        else:
            self.server._handle_request_noblock()

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
        self.server.turn_away_accepted()  # shutdown(), or a handler that was broken off, came first
        self.loop.discard(self)
        self.server.leave_loop(self.loop)
        if self._session is not None:
            self._session.__exit__(None, None, None)

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
            if server.hooks.server_draining is not None:
                server.hooks.server_draining(server=server)
            return self._prepare(timeout)
        return self._prepare_accepting(timeout)

    def _prepare_accepting(self, timeout: float | None) -> float | None:
        """Poll the listening socket if there is room for a request and accepting works."""
        server = self.server
        wanted = server.has_room()
        if not wanted:
            server._waiting = True  # whoever ends a request wakes us; look again, one may just have
            wanted = server.has_room()
            if not (wanted or self.loop.can_wake):
                timeout = _sooner(timeout, _BLIND_WAIT)
        elif server._waiting:
            server._waiting = False
        if server._accept_delay:
            pause = server._accept_resumes - time.monotonic()
            if pause > 0:
                wanted = False
                timeout = _sooner(timeout, pause)
        if wanted is not (self._polled_fd is not None):
            self._poll(wanted)
        return timeout

    def _prepare_last_call(self, timeout: float | None) -> float | None:
        emptied = self._offered and self.polled and not self.handled
        self._last_call -= self.handled
        self.handled = 0
        left = self.server._drain_deadline - time.monotonic()
        if emptied or left <= 0 or self._last_call <= 0:
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
        return _sooner(_sooner(timeout, left), 0.0 if self.server.serve_accepted() else pause)

    def _prepare_finishing(self, timeout: float | None) -> float | None:
        server = self.server
        if server.serve_accepted():
            return 0.0
        if not server.active_requests and not server.accepted:
            server._BaseServer__shutdown_request = True
            return 0.0
        left = server._drain_deadline - time.monotonic()
        if left > 0:
            return _sooner(timeout, left)
        self._aborts += 1
        server.turn_away_accepted()
        if self._aborts > 2:
            server._BaseServer__shutdown_request = True
            return 0.0
        server.abort_requests(force=self._aborts == 2)
        server._drain_deadline = time.monotonic() + ABORT_GRACE
        return _sooner(timeout, ABORT_GRACE)


def _sooner(timeout: float | None, other: float) -> float:
    other = max(other, 0.0)
    return other if timeout is None or other < timeout else timeout
