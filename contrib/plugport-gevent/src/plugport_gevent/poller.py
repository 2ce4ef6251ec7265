"""HubPoller: waits for descriptors on gevent's hub, and lets other greenlets run meanwhile."""

from __future__ import annotations

from typing import Any

from gevent import getcurrent, monkey, sleep
from gevent.hub import Waiter, get_hub
from plugport.contracts import READ, WRITE, Callback

__all__ = ["HubPoller"]

# poll(2) itself, which gevent's patches replace.
_poll = monkey.get_original("select", "poll")
# POLLIN 1, POLLPRI 2, POLLOUT 4; the others, POLLERR, POLLHUP and POLLNVAL, say that it broke.
_POLL = (0, 1, 4, 5)


class HubPoller:
    """The plugport.loop.poller.Poller of one greenlet: dispatch() switches to the hub of its thread.

    Takes no descriptor. A watcher stops when it has fired, until the next dispatch(): the hub
    would tell of what is still to be read in each of its turns, while the greenlet waits elsewhere.
    """

    def __init__(self) -> None:
        self._hub = get_hub()
        self._callbacks: dict[int, Callback] = {}
        self._watchers: dict[int, Any] = {}
        #: What each descriptor is watched for, and what it was found ready for since the last dispatch().
        self._wanted: dict[int, int] = {}
        self._ready: dict[int, int] = {}
        self._waiter: Any = None

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """Watch *fd* for *events*. Raises KeyError if it is watched already."""
        if fd in self._callbacks:
            raise KeyError(fd)
        self._callbacks[fd] = callback
        self._watch(fd, events)

    def modify(self, fd: int, events: int, callback: Callback) -> None:
        """Watch *fd* for other *events*; with 0 nothing of it is told."""
        self._callbacks[fd] = callback
        if events != self._wanted.get(fd, 0):
            self._forget(fd)
            self._watch(fd, events)

    def unregister(self, fd: int) -> None:
        """Watch *fd* no longer; unknown ones are let pass."""
        if self._callbacks.pop(fd, None) is not None:
            self._forget(fd)

    def _watch(self, fd: int, events: int) -> None:
        if events:
            self._wanted[fd] = events
            self._watchers[fd] = watcher = self._hub.loop.io(fd, events)
            watcher.start(self._note, fd, pass_events=True)

    def _forget(self, fd: int) -> None:
        self._ready.pop(fd, None)
        self._wanted.pop(fd, None)
        watcher = self._watchers.pop(fd, None)
        if watcher is not None:
            watcher.stop()
            watcher.close()

    def _note(self, events: int, fd: int) -> None:
        """Called by the hub when *fd* is ready, or has broken."""
        self._watchers[fd].stop()
        self._ready[fd] = events if events > 0 else READ | WRITE
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.switch(None)

    def dispatch(self, timeout: float | None) -> int:
        """Wait for at most *timeout* seconds (None: for ever), and call who is due. Return how many.

        Other greenlets have their turn in any case.
        """
        if timeout is not None and timeout <= 0.0:
            sleep(0)
            self._look()
        elif not self._ready:
            self._wait(timeout)
        ready, self._ready = self._ready, {}
        for fd, events in ready.items():
            callback = self._callbacks.get(fd)
            if callback is None:
                continue
            watcher = self._watchers.get(fd)
            if watcher is not None and not watcher.active:
                watcher.start(self._note, fd, pass_events=True)
            callback(events)
        return len(ready)

    def _look(self) -> None:
        """See who is ready now. The hub says it only to those who wait, and may have had no time to ask."""
        poll = _poll()
        for fd, events in self._wanted.items():
            poll.register(fd, _POLL[events])
        for fd, bits in poll.poll(0):
            broken = self._wanted[fd] if bits & ~7 else 0
            self._ready[fd] = broken | (READ if bits & 3 else 0) | (WRITE if bits & 4 else 0)

    def _wait(self, timeout: float | None) -> None:
        assert getcurrent() is not self._hub, "the hub itself can't wait"
        self._waiter = waiter = Waiter(self._hub)
        timer = None
        if timeout is not None:
            timer = self._hub.loop.timer(timeout)
            timer.start(waiter.switch, None, update=True)  # from now, and not since the hub last looked
        try:
            waiter.get()
        finally:
            self._waiter = None
            if timer is not None:
                timer.stop()
                timer.close()

    def close(self) -> None:
        """Release the watchers."""
        for fd in tuple(self._watchers):
            self._forget(fd)
        self._callbacks.clear()
