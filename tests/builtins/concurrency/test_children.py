"""Children of the forking strategy: their hooks, reports and ends."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from clients import ask, connect, is_closed, read_all
from composed import (
    Build,
    Hello,
    Raising,
    Serve,
    Shared,
    finished,
)
from leaks import open_files
from patience import wait_until
from recording import Recorder

from plugport.contracts.hooks import NO_HOOKS, ServerHooks
from plugport.handlers.base import StreamRequestHandler
from plugport_builtins.concurrency import children
from plugport_builtins.concurrency.forking import ForkingMixIn
from plugport_builtins.concurrency.sync import SyncMixIn


def test_a_child_that_does_not_heed_sigterm_is_killed(
    build: Build, serve: Serve, recorder: Recorder, short_abort_grace: None
) -> None:
    class Deaf(Hello):
        def handle(self) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            super().handle()

    server = build(ForkingMixIn, Deaf)
    call = serve(server, poll_interval=60)
    with connect(server) as client:
        assert client.recv(100)
        server.drain(0)
        assert is_closed(client)
        call.result()
    server.collect_children(blocking=True)
    assert recorder.outcomes == ["aborted"]
    [exited] = recorder.of("child_exited")
    assert exited["status"] == -signal.SIGKILL


def test_sync_is_to_be_had_where_nothing_forks() -> None:
    script = """if True:
        import _signal, signal
        for module in (signal, _signal):
            for name in ("pthread_sigmask", "SIG_BLOCK", "SIG_SETMASK"):
                delattr(module, name)
        import plugport_builtins.concurrency.sync"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_children_are_waited_for_where_descriptors_are_many(
    build: Build, serve: Serve, recorder: Recorder
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("there can't be so many")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    held = []
    try:
        while not held or held[-1] < 1024:  # select() knows no higher ones
            held.append(os.open(os.devnull, os.O_RDONLY))
        server = build(ForkingMixIn, lambda *_: time.sleep(0.3))
        serve(server)
        with connect(server):
            wait_until(lambda: server.active_children)
            server.shutdown()
            server.server_close()
        assert recorder.outcomes == ["completed"]
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_hooks_of_a_child(build: Build, serve: Serve, recorder: Recorder, shared: Shared) -> None:
    server = build(ForkingMixIn, Hello)
    recorder.hooks.child_started = lambda *, server: shared.add(b"%d " % os.getpid())
    serve(server)
    with connect(server) as client:
        pid = int(client.recv(100))
        wait_until(lambda: server.active_children == {pid})
        client.sendall(b"done\n")
        assert read_all(client) == b"done\n"
    wait_until(lambda: recorder.of("child_exited"))
    assert recorder.of("child_exited") == [{"server": server, "pid": pid, "status": 0}]
    assert shared.seen == b"%d " % pid
    assert recorder.requests == ["started", "finished"]


def test_a_child_that_is_killed(build: Build, serve: Serve, recorder: Recorder) -> None:
    server = build(ForkingMixIn, Hello)
    serve(server)
    with connect(server) as client:
        os.kill(int(client.recv(100)), signal.SIGKILL)
        assert is_closed(client)
    assert finished(recorder) == ["aborted"]
    wait_until(lambda: recorder.of("child_exited"))
    assert recorder.of("child_exited")[0]["status"] == -signal.SIGKILL


def test_a_child_that_exits_on_its_own(build: Build, serve: Serve, recorder: Recorder) -> None:
    server = build(ForkingMixIn, lambda *_: os._exit(5))
    serve(server)
    assert ask(server, b"") == b""
    assert finished(recorder) == ["aborted"]
    wait_until(lambda: recorder.of("child_exited"))
    assert recorder.of("child_exited")[0]["status"] == 5


@pytest.mark.parametrize(
    "hooks", [NO_HOOKS, ServerHooks(request_started=lambda **_: None)], ids=["none", "request_started"]
)
def test_the_outcome_when_nobody_asks_for_the_end(build: Build, serve: Serve, hooks: ServerHooks) -> None:
    server = build(ForkingMixIn, Hello)
    server.hooks = hooks
    serve(server)
    with connect(server) as client:
        assert client.recv(100)
        [context] = server.active_requests.values()
        client.sendall(b"done\n")
        assert read_all(client) == b"done\n"
    assert wait_until(lambda: context.outcome, what="an outcome") == "completed"


@pytest.fixture
def never_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has all children looked at so rarely that nothing can count on it."""
    monkeypatch.setattr(children, "_CHECK_INTERVAL", 1000.0)


@pytest.mark.usefixtures("never_looks")
def test_a_child_that_exits_after_its_report_makes_room(
    build: Build, serve: Serve, recorder: Recorder
) -> None:
    (bell, ring), (stay, leave) = os.pipe(), os.pipe()

    def shutdown_request(self: Any, request: Any) -> None:
        if self._report_fd is not None:
            os.read(stay, 1)  # the child has reported, and has not exited
        super(type(self), self).shutdown_request(request)

    def let_exit(events: int) -> None:
        """Hold the loop until the child has exited, and the timer is due that reaps it."""
        server.unwatch(bell)
        [pid] = server.active_children
        os.write(leave, b"xx")  # one for the next child
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        wait_until(lambda: server._next_check < time.monotonic())

    server = build(ForkingMixIn, max_children=1, shutdown_request=shutdown_request)
    server.watch(bell, let_exit)
    try:
        serve(server, poll_interval=60)
        with connect(server) as first, connect(server) as second:
            for client in first, second:
                client.sendall(b"hello\n")
            assert first.recv(100) == b"HELLO\n"
            wait_until(lambda: server._exiting, what="the first child's report")
            assert len(recorder.of("request_started")) == 1
            os.write(ring, b"x")
            assert read_all(second) == b"HELLO\n"
    finally:
        for end in bell, ring, stay, leave:
            os.close(end)


@pytest.mark.usefixtures("never_looks")
def test_children_that_come_and_go_leave_one_timer(build: Build, serve: Serve, recorder: Recorder) -> None:
    server = build(ForkingMixIn, Hello)
    serve(server)
    with connect(server) as staying:
        assert staying.recv(100)
        for count in range(1, 6):
            assert ask(server, b"").strip().isdigit()
            wait_until(lambda count=count: len(recorder.of("child_exited")) == count, what="child_exited")
        timers = [timer for timer in server.serving_loop._timers if timer.callback is not None]
        assert len(timers) <= 1


@pytest.mark.parametrize("report", [b"garbled\n", b"[", b"\xff", b"1\n"])
def test_a_garbled_report_harms_that_request_alone(
    build: Build, serve: Serve, recorder: Recorder, report: bytes
) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        if request.recv(1):
            os.write(server._report_fd, report)
            os._exit(1)

    server = build(ForkingMixIn, handler)
    call = serve(server)
    assert ask(server, b"x") == b""
    assert finished(recorder) == ["aborted"]
    assert ask(server, b"") == b""
    assert finished(recorder, 2) == ["aborted", "completed"]
    assert call.is_alive()


def test_a_grandchild_does_not_keep_a_request_open(
    build: Build, serve: Serve, recorder: Recorder, shared: Shared
) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        if os.fork() == 0:
            request.close()
            shared.add(b"%d " % os.getpid())
            signal.pause()
        request.sendall(b"x")

    server = build(ForkingMixIn, handler)
    serve(server)
    try:
        with connect(server) as client:
            assert client.recv(1)
            assert finished(recorder) == ["completed"]
        wait_until(lambda: recorder.of("child_exited"), what="child_exited")
    finally:
        wait_until(lambda: shared.seen.endswith(b" "))
        os.kill(int(shared.seen), signal.SIGKILL)


@pytest.mark.parametrize("length", [10, 1_000_000])
def test_what_a_child_raises_is_told_to_its_parent(
    build: Build, serve: Serve, recorder: Recorder, length: int
) -> None:
    server = build(ForkingMixIn, Raising)
    server.error = ValueError("\N{SNOWMAN}" * length)
    serve(server)
    assert ask(server, b"") == b""
    assert finished(recorder) == ["failed"]
    message = str(recorder.of("request_failed")[0]["error"])
    assert message.startswith("ValueError: " + "\N{SNOWMAN}" * 10)
    assert len(message) <= 1000
    wait_until(lambda: recorder.of("child_exited"))
    assert recorder.of("child_exited")[0]["status"] == 1


@pytest.mark.parametrize("strategy", [SyncMixIn, ForkingMixIn])
def test_a_child_holds_nothing_of_its_parent_s(build: Build, serve: Serve, strategy: type) -> None:
    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            self.finish_in_child()
            if self.rfile.readline() == b"look\n":
                self.wfile.write("\n".join(set(open_files().values()) - before).encode())

    before = set(open_files().values())
    server = build(strategy, Handler)
    serve(server)
    clients = [connect(server) for _ in range(4)]
    wait_until(lambda: len(server.active_children or ()) == 4)
    theirs = {os.readlink(f"/dev/fd/{client.fileno()}") for client in clients}
    for client in clients[:0:-1]:
        client.close()
    clients[0].sendall(b"look\n")
    held = set(read_all(clients[0]).decode().splitlines()) - theirs
    clients[0].close()
    # Its report and its connection; and the pipe that libuv makes anew in every forked process.
    pipes = 2 if "uvloop" in sys.modules else 1
    assert sorted(what.partition(":")[0] for what in held) == ["pipe"] * pipes + ["socket"]
