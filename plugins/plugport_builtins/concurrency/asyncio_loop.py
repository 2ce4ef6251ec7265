"""AsyncioLoop: the contract plugport.contracts.Loop on an asyncio event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from plugport.contracts import READ, WRITE, Callback, LoopMember

__all__ = ["AsyncioLoop"]


class AsyncioLoop:
    """Polls for servers on the running event loop until each of them is shut down or has drained."""

    can_wake = True

    def __init__(self, poll_interval: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._poll_interval = poll_interval
        self._members: list[LoopMember] = []
        self._sessions: list[Callable[[], object]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timed = False  # the last turn was the timer's
        self._steady = False  # the decisions of the last turn hold until the next
        self._reconsiders = False  # a turn is scheduled
        self._stopped = self._loop.create_future()

    def add(self, member: LoopMember) -> None:
        """Poll for *member* from now on."""
        self._members.append(member)

    async def run(self) -> None:
        """Turn until no server is left."""
        self._turn()
        await self._stopped

    def close(self) -> None:
        """Remove all servers."""
        for member in tuple(self._members):
            member.leave()
        if self._timer is not None:
            self._timer.cancel()

    def wake(self) -> None:
        """Run a turn soon. Safe from any thread and from a signal handler."""
        try:
            self._loop.call_soon_threadsafe(self._turn)
        except RuntimeError:
            pass  # the loop is closed: it has ended

    def _turn(self, timed: bool = False) -> None:
        """Do what plugport's loop does between two waits: periodic work, then decide what to wait for."""
        # Only between two turns by the timer the loop has waited for certain: wake() and ready() run turns
        # between waits.
        polled, self._timed = timed and self._timed, timed
        self._reconsiders = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for member in tuple(self._members):
            member.settle()
        if not self._members:
            if not self._stopped.done():
                self._stopped.set_result(None)
            return
        timeout: float | None = self._poll_interval
        self._steady = True
        for member in self._members:
            member.polled = polled
            timeout = member.prepare(timeout)
            self._steady &= member.steady
        self._timer = self._loop.call_later(timeout or 0.0, self._turn, True)

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """Run *callback* when *fd* is ready, then a turn if its decisions may change."""

        def ready(event: int) -> None:
            callback(event)
            if not self._steady:
                self._turn()

        if events & READ:
            self._loop.add_reader(fd, ready, READ)
        if events & WRITE:
            self._loop.add_writer(fd, ready, WRITE)

    def modify(self, fd: int, events: int, callback: Callback) -> None:
        """Watch *fd* for other *events*."""
        self.unregister(fd)
        self.register(fd, events, callback)

    def unregister(self, fd: int) -> None:
        """Stop watching *fd*."""
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Run *callback* after the current one."""
        self._loop.call_soon(callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Run *callback* in *seconds*, unless the timer is cancelled."""
        return self._loop.call_later(seconds, callback)

    def reconsider(self) -> None:
        """Have the listeners decide again, soon, what to poll for."""
        if not self._reconsiders:
            self._reconsiders = True
            self._loop.call_soon(self._turn)

    def discard(self, member: LoopMember) -> None:
        """Stop polling for *member*."""
        self._members.remove(member)

    def end_session(self, end: Callable[[], object]) -> None:
        """Call *end* when end_sessions() is called."""
        self._sessions.append(end)

    def end_sessions(self) -> None:
        """Let the threads that wait in shutdown() continue: the requests have ended."""
        while self._sessions:
            self._sessions.pop()()

    def abandon(self) -> None:
        """Do nothing: a forked child leaves the event loop alone."""
