"""ServerLoop: one poll over the listening sockets of one or more servers, and what these watch besides.

The strategies that keep BaseServer.serve_forever() run in it. What happens to each server there
is the business of its :mod:`plugport.listener`.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any

from plugport.listener import Listener
from plugport.poller import READ, Poller, blocking_poller, make_poller
from plugport.timers import Timers

__all__ = ["ServerLoop"]


class ServerLoop(Timers):
    """Polls for servers until each has been shut down or has drained.

    With *waker* the loop can be woken from other threads and from signal handlers; without, it
    takes no descriptors of its own. *poller_class*: how it waits, if not by the poller of this platform.
    """

    def __init__(self, *, waker: bool = True, poller_class: type[Poller] | None = None) -> None:
        super().__init__()
        self.can_wake = waker
        self._listeners: list[Listener] = []
        self._soon: deque[Callable[[], object]] = deque()
        self.call_soon = self._soon.append
        self._sockets: tuple[socket.socket, ...] = ()
        poller = (poller_class or (make_poller if waker else blocking_poller))()
        self.register, self.modify, self.unregister = poller.register, poller.modify, poller.unregister
        self._dispatch = poller.dispatch
        self._poller = poller
        self._reconsider = False
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
        self._reconsider = True

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

    def end_session(self, end: Callable[[], object]) -> None:
        """Call *end* after connection_lost() of the connections that were cut, which comes soon."""
        self.call_soon(end)

    def run(self, poll_interval: float) -> None:
        """Turn until no server is left."""
        listeners = self._listeners
        while listeners:
            self._reconsider = False
            timeout: float = poll_interval
            for listener in listeners:
                timeout = listener.prepare(timeout)
                self._reconsider |= not listener.steady
            deadline = monotonic() + timeout
            # As long as nothing touches what the listeners decided, they need not decide again.
            while self._turn(timeout) and not self._reconsider:
                timeout = deadline - monotonic()
                if timeout <= 0.0:
                    break
            for listener in tuple(listeners):
                listener.settle()

    def reconsider(self) -> None:
        """Have the listeners look again at what to poll for before the next wait."""
        self._reconsider = True

    def poll(self, timeout: float | None) -> None:
        """Wait for at most *timeout* seconds (None: for ever) and do what is ready to be done."""
        for listener in self._listeners:
            timeout = listener.prepare(timeout)
        self._turn(timeout)

    def _turn(self, timeout: float | None) -> int:
        """Wait, and call who is due. Return how many descriptors were ready."""
        soon = self._soon
        if self._timers:
            timeout = self.run_timers(timeout)
        ready = self._dispatch(0.0 if soon else timeout)
        if soon:
            # Only those that are here now: what they add waits for the next turn, and starves nobody.
            for _ in range(len(soon)):
                soon.popleft()()
        return ready

    def close(self) -> None:
        """Take all servers out, and release the descriptors."""
        for listener in tuple(self._listeners):
            listener.leave()
        while self._soon:  # what their leaving has brought about
            self._soon.popleft()()
        self._release()

    def abandon(self) -> None:
        """Release, in a forked child, the descriptors, and what all servers listen on and have not begun."""
        for listener in self._listeners:
            listener.server.stop_listening()
            listener.server.abandon_accepted()
        self._release()

    def _release(self) -> None:
        self._poller.close()
        for end in self._sockets:
            end.close()
