"""Pollers, which run callbacks when descriptors are ready: by epoll, or by the selectors module."""

from __future__ import annotations

import select
import selectors

from plugport.contracts.loops import READ, WRITE, Callback, Poller

__all__ = ["EpollPoller", "SelectorPoller", "blocking_poller", "make_poller"]


class EpollPoller:
    """epoll(7), level-triggered."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}

    def register(self, fd: int, events: int, callback: Callback) -> None:
        if fd in self._callbacks:
            raise KeyError(fd)
        self._epoll.register(fd, _EPOLL[events])
        self._callbacks[fd] = callback

    def modify(self, fd: int, events: int, callback: Callback) -> None:
        self._epoll.modify(fd, _EPOLL[events])
        self._callbacks[fd] = callback

    def unregister(self, fd: int) -> None:
        if self._callbacks.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:
                pass  # a closed descriptor is not in epoll any more

    def dispatch(self, timeout: float | None) -> int:
        callbacks, events = self._callbacks, _EVENTS
        # epoll counts in milliseconds; rounding up prevents a busy loop.
        ready = self._epoll.poll(None if timeout is None else timeout and timeout + 0.0005)
        for fd, bits in ready:
            try:
                callback = callbacks[fd]
            except KeyError:
                continue
            callback(events[bits])
        return len(ready)

    def close(self) -> None:
        self._epoll.close()
        self._callbacks.clear()


# EPOLLIN 1, EPOLLPRI 2, EPOLLOUT 4, EPOLLERR 8, EPOLLHUP 16.
_EPOLL = (0, 1, 4, 5)
_EVENTS = tuple(
    READ | WRITE if bits & 24 else (READ if bits & 3 else 0) | (WRITE if bits & 4 else 0)
    for bits in range(32)
)


class SelectorPoller:
    """The best selector of the selectors module on this platform."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._callbacks: dict[int, Callback] = {}
        self._idle: set[int] = set()  # registered without events, which selectors do not support

    def register(self, fd: int, events: int, callback: Callback) -> None:
        if fd in self._callbacks:
            raise KeyError(fd)
        self._callbacks[fd] = callback
        self._select(fd, events)

    def _select(self, fd: int, events: int) -> None:
        if events:
            self._selector.register(fd, events)
        else:
            self._idle.add(fd)

    def modify(self, fd: int, events: int, callback: Callback) -> None:
        self._callbacks[fd] = callback
        if fd in self._idle:
            self._idle.discard(fd)
        else:
            self._selector.unregister(fd)
        self._select(fd, events)

    def unregister(self, fd: int) -> None:
        if self._callbacks.pop(fd, None) is not None:
            if fd in self._idle:
                self._idle.discard(fd)
            else:
                self._selector.unregister(fd)

    def dispatch(self, timeout: float | None) -> int:
        ready = self._selector.select(timeout)
        for key, events in ready:
            callback = self._callbacks.get(key.fd)
            if callback is not None:
                callback(events)
        return len(ready)

    def close(self) -> None:
        self._selector.close()
        self._callbacks.clear()
        self._idle.clear()


def make_poller() -> Poller:
    """Return the best poller of this platform."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller(selectors.DefaultSelector())


def blocking_poller() -> Poller:
    """Return a poller that has no descriptor of its own, if the platform has one."""
    selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
    return SelectorPoller(selector())
