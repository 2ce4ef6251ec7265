"""Pollers: which descriptors are ready, by epoll where there is one, else by the selectors module.

Both call nothing by themselves: poll() returns the callbacks that are due, with their events.
"""

from __future__ import annotations

import select
import selectors
from collections.abc import Callable
from typing import Protocol

__all__ = ["READ", "WRITE", "Callback", "Poller", "blocking_poller", "make_poller"]

#: Events, as given to register() and to callbacks. A broken connection is readable and writable.
READ, WRITE = 1, 2

Callback = Callable[[int], None]


class Poller(Protocol):
    """What both do."""

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """Watch *fd* for *events*. Raises KeyError if it is watched already."""

    def modify(self, fd: int, events: int) -> None:
        """Watch *fd* for other *events*; 0 keeps its place and reports only that it broke, or nothing."""

    def unregister(self, fd: int) -> None:
        """Watch *fd* no longer. To be called before it is closed; unknown ones are let pass."""

    def poll(self, timeout: float | None) -> list[tuple[Callback, int]]:
        """Wait for at most *timeout* seconds (None: for ever); return who is to be called."""

    def close(self) -> None:
        """Release the poller's own descriptors, and nothing else: a forked child may do it."""


class EpollPoller:
    """epoll(7), level-triggered."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """See Poller."""
        if fd in self._callbacks:
            raise KeyError(fd)
        self._epoll.register(fd, _EPOLL[events])
        self._callbacks[fd] = callback

    def modify(self, fd: int, events: int) -> None:
        """See Poller."""
        self._epoll.modify(fd, _EPOLL[events])

    def unregister(self, fd: int) -> None:
        """See Poller."""
        if self._callbacks.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:
                pass  # closed, and so gone from there

    def poll(self, timeout: float | None) -> list[tuple[Callback, int]]:
        """See Poller."""
        callbacks = self._callbacks
        # epoll counts in milliseconds; rounding up keeps a wait from becoming a spin.
        wait = None if timeout is None else timeout and timeout + 0.0005
        return [(callbacks[fd], _EVENTS[events & 0x1F]) for fd, events in self._epoll.poll(wait)]

    def close(self) -> None:
        """See Poller."""
        self._epoll.close()
        self._callbacks.clear()


# EPOLLIN 1, EPOLLPRI 2, EPOLLOUT 4, EPOLLERR 8, EPOLLHUP 16.
_EPOLL = (0, 1, 4, 5)
_EVENTS = tuple(
    READ | WRITE if bits & 24 else (READ if bits & 3 else 0) | (WRITE if bits & 4 else 0)
    for bits in range(32)
)


class SelectorPoller:
    """Whatever the selectors module has on this platform."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._idle: dict[int, Callback] = {}  # watched for nothing, which selectors can't express

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """See Poller."""
        if fd in self._idle:
            raise KeyError(fd)
        if events:
            self._selector.register(fd, events, callback)
        else:
            self._idle[fd] = callback

    def modify(self, fd: int, events: int) -> None:
        """See Poller."""
        callback = self._idle.pop(fd, None)
        if callback is None:
            callback = self._selector.get_key(fd).data
            if events:
                self._selector.modify(fd, events, callback)
                return
            self._selector.unregister(fd)
        self.register(fd, events, callback)

    def unregister(self, fd: int) -> None:
        """See Poller."""
        if self._idle.pop(fd, None) is None:
            try:
                self._selector.unregister(fd)
            except (KeyError, ValueError):
                pass

    def poll(self, timeout: float | None) -> list[tuple[Callback, int]]:
        """See Poller."""
        return [(key.data, events) for key, events in self._selector.select(timeout)]

    def close(self) -> None:
        """See Poller."""
        self._selector.close()
        self._idle.clear()


def make_poller() -> Poller:
    """Return the best poller of this platform."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller(selectors.DefaultSelector())


def blocking_poller() -> Poller:
    """Return a poller that takes no descriptor of its own, where the platform has one."""
    selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
    return SelectorPoller(selector())
