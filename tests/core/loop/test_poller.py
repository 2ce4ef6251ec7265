"""Pollers: they report what is ready, and nothing that was unregistered meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from patience import PATIENCE

from plugport.loop.poller import SelectorPoller, make_poller

make_pollers = pytest.mark.parametrize(
    "make", [make_poller, lambda: SelectorPoller(__import__("selectors").PollSelector())]
)


@make_pollers
def test_pollers(make: Callable[[], Any]) -> None:
    poller = make()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        calls: list[int] = []
        fd = ours.fileno()

        def dispatched(timeout: float) -> list[int]:
            calls.clear()
            assert poller.dispatch(timeout) == len(calls)
            return calls

        poller.register(fd, 1, calls.append)
        with pytest.raises(KeyError):
            poller.register(fd, 1, calls.append)
        assert dispatched(0) == []
        theirs.send(b"x")
        assert dispatched(PATIENCE) == [1]
        poller.modify(fd, 0, calls.append)
        assert dispatched(0) == []
        poller.modify(fd, 3, calls.append)
        assert dispatched(PATIENCE) == [3]
        poller.modify(fd, 2, lambda events: calls.append(-events))
        assert dispatched(PATIENCE) == [-2]
        poller.modify(fd, 0, calls.append)
        poller.unregister(fd)
        poller.unregister(fd)
        assert dispatched(0) == []
        poller.close()


@make_pollers
def test_who_was_unregistered_meanwhile_is_not_called(make: Callable[[], Any]) -> None:
    poller = make()
    pairs = [socket.socketpair() for _ in range(2)]
    calls: list[int] = []

    def end_all(events: int) -> None:
        calls.append(events)
        for ours, _ in pairs:
            poller.unregister(ours.fileno())

    for ours, theirs in pairs:
        poller.register(ours.fileno(), 1, end_all)
        theirs.send(b"x")
    assert poller.dispatch(PATIENCE) == 2
    assert calls == [1]
    poller.close()
    for pair in pairs:
        for end in pair:
            end.close()
