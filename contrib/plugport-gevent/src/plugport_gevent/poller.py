"""HubPoller: polls descriptors by gevent's hub; other greenlets run while it waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gevent import getcurrent, monkey, sleep
from gevent.hub import Waiter, get_hub
from plugport.contracts import READ, WRITE, Callback

__all__ = ["HubPoller"]

# poll(2) itself, which gevent's patches replace.
_poll = monkey.get_original("select", "poll")
# The bits of poll(2) for each combination of READ and WRITE. POLLIN is 1, POLLPRI 2, POLLOUT 4; the bits
# above, POLLERR, POLLHUP and POLLNVAL, mean that the descriptor broke.
_POLL_BITS = (0, 1, 4, 5)


class _Watcher(Protocol):
    active: bool

    def start(self, callback: Callable[[int, int], None], fd: int, /, *, pass_events: bool) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


class HubPoller:
    """The poller of one greenlet: dispatch() switches to the hub of its thread. (plugport.contracts.Poller)

    It needs no descriptor. A watcher is stopped when it has fired, until the next dispatch(): otherwise the
    hub would report the descriptor in each of its turns while the greenlet waits for something else.
    """

    def __init__(self) -> None:
        self._hub = get_hub()
        self._callbacks: dict[int, Callback] = {}
        self._watchers: dict[int, _Watcher] = {}
        #: By descriptor: the events that it is watched for, and those that came since the last dispatch().
        self._wanted: dict[int, int] = {}
        self._ready: dict[int, int] = {}
        #: What the greenlet waits on in dispatch().
        self._waiter: Waiter | None = None

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """Watch *fd* for *events*. Raises KeyError if it is watched already."""
        if fd in self._callbacks:
            raise KeyError(fd)
        self._callbacks[fd] = callback
        self._watch(fd, events)

    def modify(self, fd: int, events: int, callback: Callback) -> None:
        """Watch *fd* for other *events*; 0 keeps its place and reports nothing."""
        self._callbacks[fd] = callback
        if events != self._wanted.get(fd, 0):
            self._stop_watching(fd)
            self._watch(fd, events)

    def unregister(self, fd: int) -> None:
        """Watch *fd* no longer. An unknown *fd* is ignored."""
        if self._callbacks.pop(fd, None) is not None:
            self._stop_watching(fd)

    def _watch(self, fd: int, events: int) -> None:
        if events:
            self._wanted[fd] = events
            self._watchers[fd] = watcher = self._hub.loop.io(fd, events)
            watcher.start(self._on_event, fd, pass_events=True)

    def _stop_watching(self, fd: int) -> None:
        self._ready.pop(fd, None)
        self._wanted.pop(fd, None)
        watcher = self._watchers.pop(fd, None)
        if watcher is not None:
            watcher.stop()
            watcher.close()

    def _on_event(self, events: int, fd: int) -> None:
        """Note that *fd* is ready or has broken. The hub calls this."""
        self._watchers[fd].stop()
        self._ready[fd] = events if events > 0 else READ | WRITE
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.switch(None)

    def dispatch(self, timeout: float | None) -> int:
        """Wait for at most *timeout* seconds (None: no limit), and run the callbacks of ready descriptors.

        Returns how many descriptors were ready. Other greenlets run even if *timeout* is 0.
        """
        if timeout is not None and timeout <= 0.0:
            sleep(0)
            self._check()
        elif not self._ready:
            self._wait(timeout)
        ready, self._ready = self._ready, {}
        for fd, events in ready.items():
            callback = self._callbacks.get(fd)
            if callback is None:
                continue
            watcher = self._watchers.get(fd)
            if watcher is not None and not watcher.active:
                watcher.start(self._on_event, fd, pass_events=True)
            callback(events)
        return len(ready)

    def _check(self) -> None:
        """Find the descriptors that are ready now: the hub may not have polled since they became ready."""
        poll = _poll()
        for fd, events in self._wanted.items():
            poll.register(fd, _POLL_BITS[events])
        for fd, bits in poll.poll(0):
            broken = self._wanted[fd] if bits & ~7 else 0
            self._ready[fd] = broken | (READ if bits & 3 else 0) | (WRITE if bits & 4 else 0)

    def _wait(self, timeout: float | None) -> None:
        assert getcurrent() is not self._hub, "the hub itself can't wait"
        self._waiter = waiter = Waiter(self._hub)
        timer = None
        if timeout is not None:
            timer = self._hub.loop.timer(timeout)
            timer.start(waiter.switch, None, update=True)  # update: from now, not from the hub's last turn
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
            self._stop_watching(fd)
        self._callbacks.clear()
