"""HubPoller keeps the contract of plugport.loop.poller.Poller, and lets other greenlets run."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import gevent
import pytest
from plugport.contracts.loops import READ, WRITE
from plugport_testing.waiting import PATIENCE

from plugport_gevent.poller import HubPoller


@pytest.fixture
def poller() -> Iterator[HubPoller]:
    made = HubPoller()
    yield made
    made.close()


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(3)]
    yield made
    for pair in made:
        for end in pair:
            end.close()


Pairs = list[tuple[socket.socket, socket.socket]]


def test_calls_who_is_ready(poller: HubPoller, pairs: Pairs) -> None:
    told: list[tuple[str, int]] = []
    (ours, theirs), (other, _), _ = pairs
    poller.register(ours.fileno(), READ, lambda events: told.append(("ours", events)))
    poller.register(other.fileno(), READ, lambda events: told.append(("other", events)))
    assert poller.dispatch(0.0) == 0
    theirs.send(b"x")
    assert poller.dispatch(PATIENCE) == 1
    assert told == [("ours", READ)]
    assert poller.dispatch(None) == 1  # it is still to be read
    assert ours.recv(1) == b"x"
    assert poller.dispatch(0.01) == 0


def test_writing(poller: HubPoller, pairs: Pairs) -> None:
    told: list[int] = []
    ours, theirs = pairs[0]
    poller.register(ours.fileno(), READ | WRITE, told.append)
    assert poller.dispatch(PATIENCE) == 1
    theirs.send(b"x")
    poller.modify(ours.fileno(), READ, told.append)
    assert poller.dispatch(PATIENCE) == 1
    assert told == [WRITE, READ]


@pytest.mark.parametrize("wait", [0.0, PATIENCE])
def test_a_look_without_a_wait_sees_what_a_wait_would(poller: HubPoller, pairs: Pairs, wait: float) -> None:
    told: list[int] = []
    ours, theirs = pairs[0]
    poller.register(ours.fileno(), READ, told.append)
    theirs.close()
    assert poller.dispatch(wait) == 1
    assert told == [READ]


def test_watched_for_nothing(poller: HubPoller, pairs: Pairs) -> None:
    told: list[int] = []
    ours, theirs = pairs[0]
    poller.register(ours.fileno(), 0, told.append)
    theirs.send(b"x")
    assert poller.dispatch(0.01) == poller.dispatch(0.0) == 0
    poller.modify(ours.fileno(), READ, told.append)
    assert poller.dispatch(PATIENCE) == 1
    poller.modify(ours.fileno(), 0, told.append)
    assert poller.dispatch(0.0) == 0


def test_twice_is_an_error_and_unknown_ones_are_let_pass(poller: HubPoller, pairs: Pairs) -> None:
    fd = pairs[0][0].fileno()
    poller.register(fd, READ, print)
    with pytest.raises(KeyError):
        poller.register(fd, READ, print)
    poller.unregister(fd)
    poller.unregister(fd)
    poller.register(fd, READ, print)


def test_who_was_unregistered_meanwhile_is_not_called(poller: HubPoller, pairs: Pairs) -> None:
    told: list[int] = []
    fds = [ours.fileno() for ours, _ in pairs]

    def forget_the_others(mine: int) -> None:
        told.append(mine)
        for fd in fds:
            if fd != mine:
                poller.unregister(fd)

    for (_, theirs), fd in zip(pairs, fds, strict=True):
        poller.register(fd, READ, lambda events, fd=fd: forget_the_others(fd))  # type: ignore[misc]
        theirs.send(b"x")
    poller.dispatch(0.0)
    assert len(told) == 1


def test_others_run_while_it_waits(poller: HubPoller, pairs: Pairs) -> None:
    ours, theirs = pairs[0]
    poller.register(ours.fileno(), READ, lambda events: None)
    order: list[str] = []

    def other() -> None:
        order.append("other")
        gevent.sleep(0.01)
        theirs.send(b"x")

    greenlet = gevent.spawn(other)
    assert poller.dispatch(PATIENCE) == 1
    order.append("ready")
    greenlet.join()
    assert order == ["other", "ready"]


def test_what_is_not_dispatched_keeps_the_hub_from_nothing(poller: HubPoller, pairs: Pairs) -> None:
    ours, theirs = pairs[0]
    poller.register(ours.fileno(), READ, lambda events: None)
    theirs.send(b"x")
    begin = time.thread_time()
    gevent.sleep(0.2)  # a watcher that went on would be called in each turn of the hub
    assert time.thread_time() - begin < 0.1
    assert poller.dispatch(PATIENCE) == 1


def test_a_wait_is_over_in_time(poller: HubPoller) -> None:
    begin = time.monotonic()
    assert poller.dispatch(0.05) == 0
    assert 0.04 < time.monotonic() - begin < PATIENCE


def test_another_thread_can_end_the_wait(poller: HubPoller, pairs: Pairs) -> None:
    ours, theirs = pairs[0]
    poller.register(ours.fileno(), READ, lambda events: None)
    thread = threading.Timer(0.02, theirs.send, (b"x",))
    thread.start()
    assert poller.dispatch(PATIENCE) == 1
    thread.join()
