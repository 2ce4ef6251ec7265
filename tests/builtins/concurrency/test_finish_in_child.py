"""Requests that go on in a child: finish_in_child(), and handlers that fork."""

from __future__ import annotations

import os
import select
from typing import Any

import pytest
from clients import ask, connect, read_all
from composed import (
    CONCURRENT,
    LOCALHOST,
    Build,
    Serve,
    Shared,
    finished,
)
from patience import wait_until
from recording import Recorder

from plugport.handlers.base import BaseRequestHandler, StreamRequestHandler
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.servers.tcp import TCPServer


class HalfInChild(StreamRequestHandler):
    """Answers "here" at once, and "away" in a child."""

    wbufsize = -1

    def handle(self) -> None:
        first = b"%d\n" % os.getpid()
        if (line := self.rfile.readline()) == b"away\n":
            self.wfile.write(first)
            self.finish_in_child()
            line = b"%d\n" % os.getpid() + self.rfile.readline()
        self.wfile.write(line)

    def finish(self) -> None:
        self.server.shared.add(b"f")
        super().finish()


def test_finish_in_child_frees_the_server(
    build: Build, serve: Serve, recorder: Recorder, shared: Shared
) -> None:
    server = build(SyncMixIn, HalfInChild)
    server.shared = shared
    serve(server)
    with connect(server) as slow:
        slow.sendall(b"away\n")
        parent = int(slow.recv(100))
        assert parent == os.getpid()
        assert ask(server, b"here\n") == b"here\n"
        assert recorder.requests == ["started", "started", "finished"]
        slow.sendall(b"more\n")
        child, more = read_all(slow).splitlines()
        assert int(child) != parent
        assert more == b"more"
    assert finished(recorder, 2) == ["completed", "completed"]
    wait_until(lambda: recorder.of("child_exited"))
    assert recorder.of("child_exited") == [{"server": server, "pid": int(child), "status": 0}]
    assert shared.seen == b"ff"  # finish() runs once a request, and not in the parent of the child


def test_finish_in_child_keeps_to_max_children(build: Build, serve: Serve, shared: Shared) -> None:
    server = build(SyncMixIn, HalfInChild, max_children=2)
    server.shared = shared
    serve(server, poll_interval=60)
    clients = [connect(server) for _ in range(3)]
    for client in clients:
        client.sendall(b"away\n")
    assert all(client.recv(100) for client in clients[:2])
    wait_until(lambda: len(server.active_children) == 2)
    assert select.select([clients[2]], [], [], 0.1)[0] == []
    clients[0].sendall(b"more\n")
    assert read_all(clients[0]).endswith(b"more\n")
    assert clients[2].recv(100)
    for client in clients:
        client.close()


@pytest.mark.parametrize("strategy", CONCURRENT)
def test_finish_in_child_does_nothing_where_nobody_is_held_up(
    build: Build, serve: Serve, recorder: Recorder, shared: Shared, strategy: type
) -> None:
    server = build(strategy, HalfInChild)
    server.shared = shared
    serve(server)
    first, second, more = ask(server, b"away\nmore\n").splitlines()
    assert first == second
    assert more == b"more"
    assert finished(recorder) == ["completed"]
    assert shared.seen == b"f"


def test_finish_in_child_fails(build: Build, serve: Serve, recorder: Recorder) -> None:
    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.finish_in_child()
            raise ValueError("broken in the child")

    server = build(SyncMixIn, Handler)
    serve(server)
    assert ask(server, b"") == b""
    assert finished(recorder) == ["failed"]
    assert "broken in the child" in str(recorder.of("request_failed")[0]["error"])
    wait_until(lambda: recorder.of("child_exited"))
    assert recorder.of("child_exited")[0]["status"] == 1


def test_finish_in_child_when_the_system_can_not_fork(
    build: Build, serve: Serve, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            try:
                self.finish_in_child()
            except OSError:
                self.wfile.write(b"here, then")

    monkeypatch.setattr(os, "fork", fork)
    server = build(SyncMixIn, Handler)
    serve(server)
    assert ask(server, b"") == b"here, then"
    assert finished(recorder) == ["completed"]


def test_finish_in_child_without_a_strategy(serve: Serve, shared: Shared) -> None:
    server = TCPServer(LOCALHOST, HalfInChild)
    server.shared = shared  # type: ignore[attr-defined]
    serve(server)
    first, second, _ = ask(server, b"away\nmore\n").splitlines()
    assert first == second


class Forks(StreamRequestHandler):
    """Forks on its own when it is asked to: the child answers, when the client has sent more."""

    def handle(self) -> None:
        if self.rfile.readline() == b"away\n":
            pid = os.fork()
            if pid:
                self.server.pids.append(pid)
                return
            if self.rfile.readline() == b"raise\n":
                raise ValueError("broken in the child")
        self.wfile.write(b"%d\n" % os.getpid())


@pytest.fixture
def forks(build: Build, serve: Serve) -> Any:
    """A synchronous server whose handler forks on its own."""
    server = build(SyncMixIn, Forks)
    server.pids = []
    serve(server)
    return server


@pytest.mark.parametrize(("line", "status"), [(b"answer\n", 0), (b"raise\n", 1)])
def test_a_handler_may_fork_on_its_own(forks: Any, recorder: Recorder, line: bytes, status: int) -> None:
    with connect(forks) as slow:
        slow.sendall(b"away\n")
        assert finished(recorder) == ["completed"]
        assert int(ask(forks, b"here\n")) == os.getpid()
        [pid] = forks.pids
        slow.sendall(line)
        answer = read_all(slow)
        assert answer == (b"%d\n" % pid if status == 0 else b"")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
    assert int(ask(forks, b"here\n")) == os.getpid()  # by the one that was always the server
    assert finished(recorder, 3) == ["completed"] * 3


def test_a_handler_that_forked_and_waited_answers_itself(
    build: Build, serve: Serve, recorder: Recorder
) -> None:
    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            pid = os.fork()
            if pid == 0:
                os._exit(7)
            self.wfile.write(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    server = build(SyncMixIn, Handler)
    serve(server)
    assert ask(server, b"") == b"7"
    assert finished(recorder) == ["completed"]
