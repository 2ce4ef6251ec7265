"""ServerLoop: one poll over the listening sockets of one or more servers, and all that they watch.

A strategy that does not override BaseServer.serve_forever() runs in it. When a server accepts is decided in
:mod:`plugport.serving.listener`.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from time import monotonic

from plugport.contracts.loops import READ, LoopMember, Poller
from plugport.loop.poller import blocking_poller, make_poller
from plugport.loop.timers import Timers

__all__ = ["ServerLoop"]


class ServerLoop(Timers):
    """Polls for servers until each of them is shut down or has drained.

    With *waker* other threads and signal handlers can wake the loop; without, it has no descriptors.
    *poller_class* is how the loop waits; None: by the poller of the platform.
    """

    def __init__(self, *, waker: bool = True, poller_class: type[Poller] | None = None) -> None:
        super().__init__()
        self.can_wake = waker
        self._members: list[LoopMember] = []
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
                pass  # the buffer is full, so the loop will wake; or the loop is closed

    def _woken(self, events: int) -> None:
        try:
            self._sockets[0].recv(4096)
        except OSError:
            pass
        self._reconsider = True

    def add(self, member: LoopMember) -> None:
        """Poll for *member* from now on."""
        self._members.append(member)

    def discard(self, member: LoopMember) -> None:
        """Stop polling for *member*."""
        self._members.remove(member)

    def end_session(self, end: Callable[[], object]) -> None:
        """Call *end* after the connection_lost() of aborted connections, which is called soon."""
        self.call_soon(end)

    def run(self, poll_interval: float) -> None:
        """Turn until no server is left."""
        members = self._members
        while members:
            self._reconsider = False
            timeout: float | None = poll_interval
            for member in members:
                timeout = member.prepare(timeout)
                self._reconsider |= not member.steady
            deadline = monotonic() + (timeout or 0.0)
            # The decisions of the listeners hold until something affects them.
            while self._turn(timeout) and not self._reconsider:
                timeout = deadline - monotonic()
                if timeout <= 0.0:
                    break
            for member in tuple(members):
                member.settle()

    def reconsider(self) -> None:
        """Have the listeners look again at what to poll for before the next wait."""
        self._reconsider = True

    def poll(self, timeout: float | None) -> None:
        """Wait for at most *timeout* seconds (None: no limit), and run what is ready."""
        for member in self._members:
            timeout = member.prepare(timeout)
        self._turn(timeout)

    def _turn(self, timeout: float | None) -> int:
        """Wait, and run the ready callbacks. Return how many descriptors were ready."""
        soon = self._soon
        if self._timers:
            timeout = self.run_timers(timeout)
        ready = self._dispatch(0.0 if soon else timeout)
        if soon:
            # Callbacks that are added meanwhile wait for the next turn, so that descriptors are polled too.
            for _ in range(len(soon)):
                soon.popleft()()
        return ready

    def close(self) -> None:
        """Remove all servers, and release the descriptors."""
        for member in tuple(self._members):
            member.leave()
        while self._soon:  # callbacks that leave() has added
            self._soon.popleft()()
        self._release()

    def abandon(self) -> None:
        """Release, in a forked child, the descriptors, and the sockets and pending requests of servers."""
        for member in self._members:
            member.abandon()
        self._release()

    def _release(self) -> None:
        self._poller.close()
        for end in self._sockets:
            end.close()
