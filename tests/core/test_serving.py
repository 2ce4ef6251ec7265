"""How servers run and stop, with the same cases over every strategy that shares the serving loop."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import http.server
import os
import resource
import select
import selectors
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from clients import ask, connect, datagram_client, dial, is_closed, read_all, vanish
from leaks import open_files
from patience import Call, wait_until, within
from recording import Recorder

from plugport.contracts.hooks import NO_HOOKS, ServerHooks
from plugport.handlers.base import BaseRequestHandler, StreamRequestHandler
from plugport.loop.poller import SelectorPoller
from plugport.serving import listener
from plugport.serving.adoption import adopt, is_foreign_server
from plugport_builtins.concurrency import children
from plugport_builtins.concurrency.forking import ForkingMixIn
from plugport_builtins.concurrency.select import SelectMixIn
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer
from plugport_builtins.servers.unix import UnixStreamServer

LOCALHOST = ("127.0.0.1", 0)
Serve = Callable[..., Call]
Closing = Callable[[Any], Any]
Build = Callable[..., Any]

CONCURRENT = [ThreadingMixIn, ForkingMixIn]
STRATEGIES = [*CONCURRENT, SyncMixIn]


def compose(strategy: type, server_class: type = TCPServer, **members: Any) -> Any:
    return type(strategy.__name__.replace("MixIn", server_class.__name__), (strategy, server_class), members)


class Line(StreamRequestHandler):
    """Sends a line back in capitals: the client says how long the request lasts."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline().upper())


class Hello(StreamRequestHandler):
    """Sends its pid, and stays until the client has sent a line, which it sends back."""

    def handle(self) -> None:
        self.wfile.write(b"%d\n" % os.getpid())
        self.wfile.write(self.rfile.readline())


class Raising:
    """Raises what the server says."""

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        raise server.error


class Shared:
    """A note that a child process can write to, too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def add(self, what: bytes) -> None:
        with self._path.open("ab", buffering=0) as file:
            file.write(what)

    @property
    def seen(self) -> bytes:
        return self._path.read_bytes()


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    """A note that children can write to: add(b"x"), and seen."""
    return Shared(tmp_path / "shared")


@pytest.fixture
def build(closing: Closing, recorder: Recorder) -> Build:
    """build(strategy, handler, **members) is a server on a port of localhost, whose hooks are recorded."""

    def build_server(strategy: type, handler: Any = Line, *, on: type = TCPServer, **members: Any) -> Any:
        address = members.pop("address", LOCALHOST)
        server = closing(compose(strategy, on, **members)(address, handler))
        server.hooks = recorder.hooks
        return server

    return build_server


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives requests that were cut only a moment to end."""
    monkeypatch.setattr(listener, "ABORT_GRACE", 0.05)


def finished(recorder: Recorder, count: int = 1) -> list[str | None]:
    """The outcomes, once there are so many."""
    wait_until(lambda: len(recorder.outcomes) >= count, what="request_finished")
    return recorder.outcomes


# A request's hooks ----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hooks_of_a_request(build: Build, serve: Serve, recorder: Recorder, strategy: type) -> None:
    server = build(strategy)
    server.handler_name = "line"
    serve(server)
    with connect(server) as client:
        address = client.getsockname()
        client.sendall(b"hello\n")
        assert read_all(client) == b"HELLO\n"
    assert finished(recorder) == ["completed"]
    assert recorder.requests == ["started", "finished"]
    [started], [done] = recorder.of("request_started"), recorder.of("request_finished")
    context = done["context"]
    assert started["context"] is context
    assert (context.server, context.client_address, context.handler) == (server, address, "line")
    assert (context.bytes_received, context.bytes_sent) == (6, 6)
    assert 0 < context.duration < 10
    assert context.error is None
    wait_until(lambda: server.active_requests == {})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hooks_of_a_datagram(
    build: Build, serve: Serve, recorder: Recorder, tmp_path: Path, strategy: type
) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        request[1].sendto(request[0].upper(), client_address)

    server = build(strategy, handler, on=UDPServer)
    serve(server)
    with datagram_client(server, tmp_path) as client:
        client.send(b"hello")
        assert client.recv(100) == b"HELLO"
    assert finished(recorder) == ["completed"]
    assert recorder.of("request_finished")[0]["context"].bytes_received == 5


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError("broken"), "failed"),
        (TimeoutError("timed out"), "timed-out"),
        (ConnectionResetError("reset"), "aborted"),
    ],
    ids=["failed", "timed-out", "aborted"],
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hooks_of_a_request_that_fails(
    build: Build, serve: Serve, recorder: Recorder, strategy: type, error: Exception, outcome: str
) -> None:
    server = build(strategy, Raising)
    server.error = error
    serve(server)
    assert ask(server, b"") == b""
    assert finished(recorder) == [outcome]
    assert recorder.requests == ["started", "failed", "finished"]
    [failed] = recorder.of("request_failed")
    assert failed["context"].error is failed["error"]
    assert str(error) in str(failed["error"])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_request_that_is_rejected(build: Build, serve: Serve, recorder: Recorder, strategy: type) -> None:
    server = build(strategy)
    serve(server)
    recorder.verdict = False
    assert ask(server, b"") == b""
    recorder.verdict = True
    assert ask(server, b"hello\n") == b"HELLO\n"
    assert finished(recorder) == ["completed"]
    assert recorder.requests == ["rejected", "started", "finished"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_request_that_can_not_be_scheduled(
    build: Build, serve: Serve, recorder: Recorder, strategy: type
) -> None:
    def process_request(self: Any, request: Any, client_address: Any) -> None:
        raise RuntimeError("no more workers")

    server = build(strategy, process_request=process_request)
    serve(server)
    assert ask(server, b"") == b""
    assert finished(recorder) == ["failed"]
    assert recorder.requests == ["started", "failed", "finished"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_client_that_vanishes(build: Build, serve: Serve, recorder: Recorder, strategy: type) -> None:
    server = build(strategy)
    serve(server)
    vanish(server)
    assert finished(recorder) == ["aborted"]
    assert ask(server, b"hello\n") == b"HELLO\n"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_many_requests_leave_nothing(build: Build, serve: Serve, recorder: Recorder, strategy: type) -> None:
    server = build(strategy)
    serve(server)
    for _ in range(50):
        assert ask(server, b"hello\n") == b"HELLO\n"
    assert finished(recorder, 50) == ["completed"] * 50
    assert server.active_requests == {}


class Echoes(asyncio.DatagramProtocol):
    """Sends each datagram back."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.transport.sendto(data, address)


def test_a_strategy_that_overrides_begin_request(build: Build, serve: Serve, tmp_path: Path) -> None:
    calls = []

    class CountingMixIn(SelectMixIn):
        def begin_request(self, request: Any, client_address: Any) -> Any:
            calls.append(request)
            return super().begin_request(request, client_address)

    server = build(CountingMixIn, Echoes, on=UDPServer)
    server.hooks = NO_HOOKS  # with hooks records are kept anyway
    serve(server)
    with datagram_client(server, tmp_path) as client:
        for count in 1, 2, 3:
            client.send(b"hello")
            assert client.recv(100) == b"hello"
            assert len(calls) >= count


def test_requests_that_take_long_are_taken_one_by_one(build: Build) -> None:
    server = build(SyncMixIn, lambda *_: time.sleep(0.02))
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connect(server))
        assert server.intake.take(2) == 1


# Life of a server -----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hooks_of_a_server(build: Build, serve: Serve, recorder: Recorder, strategy: type) -> None:
    server = build(strategy)
    call = serve(server)
    assert ask(server, b"hello\n") == b"HELLO\n"
    finished(recorder)
    server.drain(10)
    call.result()
    names = [name for name, _ in recorder.calls if name.startswith("server_")]
    assert names == ["server_started", "server_draining"]
    assert recorder.of(*names) == [{"server": server}] * 2


def test_the_service_actions_hook_is_rationed(build: Build, serve: Serve, recorder: Recorder) -> None:
    turns = []
    server = build(SyncMixIn, service_actions=lambda self: turns.append(1))
    serve(server, poll_interval=0.001)
    wait_until(lambda: len(turns) > 50)
    assert 1 <= len(recorder.of("service_actions")) <= 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_shutdown_waits_until_the_loop_has_ended(build: Build, serve: Serve, strategy: type) -> None:
    server = build(strategy)
    call = serve(server)
    assert ask(server, b"hello\n") == b"HELLO\n"
    within(10, server.shutdown)
    assert server._BaseServer__is_shut_down.is_set()
    call.result()


def test_shutdown_in_a_child_is_no_matter_of_the_parent(build: Build, serve: Serve) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        server.shutdown()
        request.sendall(b"done")

    server = build(ForkingMixIn, handler)
    serve(server)
    for _ in range(2):
        assert ask(server, b"") == b"done"


def test_a_request_within_a_request(build: Build, serve: Serve) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        if request.recv(1) == b"n":
            server.handle_request()
        request.sendall(b"done")

    server = build(SyncMixIn, handler)
    call = serve(server)
    with connect(server) as outer:
        outer.sendall(b"n")
        assert ask(server, b"x") == b"done"
        assert read_all(outer) == b"done"
    within(10, server.shutdown)
    call.result()


# Limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_max_active_requests_stops_accepting_and_resumes(
    build: Build, serve: Serve, recorder: Recorder, strategy: type
) -> None:
    server = build(strategy, Hello, max_active_requests=1)
    serve(server, poll_interval=60)
    with connect(server) as first, connect(server) as second, connect(server) as third:
        for now, later in (first, second), (second, third):
            assert now.recv(100).strip().isdigit()
            later.settimeout(0.05)
            with pytest.raises(TimeoutError):
                later.recv(1)
            later.settimeout(10)
            assert len(recorder.of("request_started")) == len(recorder.of("request_finished")) + 1
            now.sendall(b"done\n")
            assert read_all(now) == b"done\n"
        third.sendall(b"done\n")
        assert read_all(third).endswith(b"\ndone\n")
    assert finished(recorder, 3) == ["completed"] * 3
    assert recorder.of("request_rejected") == []


def test_the_limit_is_looked_at_again_when_it_is_raised(build: Build, serve: Serve) -> None:
    server = build(ThreadingMixIn, Hello, max_active_requests=1)
    serve(server)
    with connect(server) as first, connect(server) as second:
        assert first.recv(100)
        server.max_active_requests = 2
        server.wake()
        assert second.recv(100)


def test_handle_request_waits_for_room(build: Build, recorder: Recorder) -> None:
    server = build(ThreadingMixIn, Hello, max_active_requests=1)
    with connect(server) as first, connect(server) as second:
        server.handle_request()
        assert first.recv(100)
        waiting = Call(server.handle_request)
        waiting.join(0.1)
        assert waiting.is_alive()
        first.sendall(b"done\n")
        waiting.result()
        assert second.recv(100)
    assert finished(recorder, 2)


# Drain ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("server_class", [TCPServer, UDPServer])
def test_drain_of_an_idle_server(build: Build, serve: Serve, strategy: type, server_class: type) -> None:
    server = build(strategy, on=server_class)
    call = serve(server, poll_interval=60)
    wait_until(lambda: server._wake)
    server.drain(60)
    call.result()


def test_drain_before_serving(build: Build, recorder: Recorder) -> None:
    server = build(ThreadingMixIn)
    with connect(server) as client:
        client.sendall(b"hello\n")
        server.drain(60)
        within(10, server.serve_forever)
        assert read_all(client) == b"HELLO\n"
    assert recorder.outcomes == ["completed"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_drain_takes_the_backlog_and_finishes_what_is_active(
    build: Build, serve: Serve, recorder: Recorder, strategy: type
) -> None:
    server = build(strategy, Hello, max_active_requests=1)
    call = serve(server, poll_interval=60)
    address = server.server_address
    clients = [connect(server) for _ in range(5)]
    try:
        assert clients[0].recv(100)
        server.drain(60)
        for client in clients:
            client.sendall(b"done\n")
        for client in clients:
            assert read_all(client).endswith(b"done\n")
        call.result()
        with pytest.raises(ConnectionRefusedError):
            dial(socket.AF_INET, socket.SOCK_STREAM, address).close()
    finally:
        for client in clients:
            client.close()
    assert recorder.outcomes == ["completed"] * 5


@pytest.mark.parametrize("strategy", CONCURRENT)
def test_while_it_drains_it_refuses_new_clients(build: Build, serve: Serve, strategy: type) -> None:
    server = build(strategy, Hello)
    call = serve(server)
    address = server.server_address
    with connect(server) as client:
        assert client.recv(100)
        assert not server.is_draining()
        server.drain(60)
        assert server.is_draining()
        wait_until(lambda: server.fileno() < 0)
        with pytest.raises(ConnectionRefusedError):
            dial(socket.AF_INET, socket.SOCK_STREAM, address).close()
        assert call.is_alive()
        client.sendall(b"done\n")
        assert read_all(client) == b"done\n"
        call.result()


@pytest.mark.parametrize("strategy", CONCURRENT)
def test_drain_cuts_what_is_left_at_the_deadline(
    build: Build, serve: Serve, recorder: Recorder, strategy: type
) -> None:
    server = build(strategy, Hello)
    call = serve(server, poll_interval=60)
    with connect(server) as client:
        assert client.recv(100)
        start = time.monotonic()
        server.drain(0.1)
        assert is_closed(client)
        assert time.monotonic() - start >= 0.1
        call.result()
    assert recorder.outcomes == ["aborted"]


def test_abort_cuts_the_request_of_a_serial_server(build: Build, serve: Serve, recorder: Recorder) -> None:
    server = build(SyncMixIn, Hello)
    serve(server)
    with connect(server) as client:
        assert client.recv(100)
        server.abort_requests()
        assert is_closed(client)
    assert finished(recorder) == ["aborted"]


def test_a_child_that_does_not_heed_sigterm_is_killed(
    build: Build, serve: Serve, recorder: Recorder, hurry: None
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


def test_drain_gives_up_on_a_thread_that_will_not_end(
    build: Build, serve: Serve, recorder: Recorder, hurry: None
) -> None:
    released = threading.Event()
    server = build(ThreadingMixIn, lambda request, *_: [request.sendall(b"x"), released.wait()])
    call = serve(server)
    try:
        with connect(server) as client:
            assert client.recv(1)
            server.drain(0)
            call.result()
            assert len(server.active_requests) == 1
    finally:
        released.set()
    assert finished(recorder) == ["aborted"]


@pytest.mark.parametrize("strategy", CONCURRENT)
def test_a_second_drain_moves_the_deadline(
    build: Build, serve: Serve, recorder: Recorder, strategy: type
) -> None:
    server = build(strategy, Hello)
    call = serve(server, poll_interval=60)
    with connect(server) as client:
        assert client.recv(100)
        server.drain(60)
        wait_until(lambda: server.fileno() < 0)
        assert call.is_alive()
        server.drain(0)
        assert is_closed(client)
        call.result()
    assert recorder.outcomes == ["aborted"]
    assert len(recorder.of("server_draining")) == 1


@pytest.mark.parametrize("strategy", CONCURRENT)
def test_shutdown_during_a_drain_ends_it(build: Build, serve: Serve, strategy: type) -> None:
    server = build(strategy, Hello)
    call = serve(server)
    with connect(server) as client:
        assert client.recv(100)
        server.drain(60)
        wait_until(lambda: server.fileno() < 0)
        within(10, server.shutdown)
        call.result()


def test_drain_lets_datagrams_be_answered(
    build: Build, serve: Serve, recorder: Recorder, tmp_path: Path
) -> None:
    started, released = threading.Event(), threading.Event()

    def handler(request: Any, client_address: Any, server: Any) -> None:
        started.set()
        released.wait()
        request[1].sendto(b"late", client_address)

    server = build(ThreadingMixIn, handler, on=UDPServer)
    call = serve(server)
    with datagram_client(server, tmp_path) as client:
        try:
            client.send(b"hello")
            assert started.wait(10)
            server.drain(60)
        finally:
            released.set()
        assert client.recv(100) == b"late"
        call.result()
    assert recorder.outcomes == ["completed"]


def test_datagrams_are_served_again_after_a_drain(build: Build, serve: Serve, tmp_path: Path) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        request[1].sendto(request[0].upper(), client_address)

    server = build(SyncMixIn, handler, on=UDPServer)
    for _ in range(2):
        call = serve(server)
        with datagram_client(server, tmp_path) as client:
            client.send(b"hello")
            assert client.recv(100) == b"HELLO"
        server.drain(60)
        call.result()
        assert not server.is_draining()


def test_drain_by_a_handler(build: Build, serve: Serve, recorder: Recorder) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        server.drain(60)
        request.sendall(b"bye")

    server = build(SyncMixIn, handler)
    call = serve(server)
    assert ask(server, b"") == b"bye"
    call.result()


def test_handle_request_is_not_concerned_by_a_drain(build: Build, recorder: Recorder) -> None:
    server = build(SyncMixIn)
    server.drain(0)
    with connect(server) as client:
        client.sendall(b"hello\n")
        within(5, server.handle_request)
        assert read_all(client) == b"HELLO\n"
    assert recorder.outcomes == ["completed"]


# Several servers in one thread ----------------------------------------------------------------


@pytest.fixture
def together(build: Build) -> Iterator[Callable[..., Call]]:
    """together(server, ...) serves them in one thread, until the end of the test."""
    started: list[tuple[tuple[Any, ...], Call]] = []

    def start(*servers: Any) -> Call:
        call = Call(servers[0].serve_together, servers, 60)
        started.append((servers, call))
        wait_until(lambda: all(server._wake for server in servers))
        return call

    yield start
    for servers, call in started:
        for server in servers:
            within(10, server.shutdown)
        call.result()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_servers_serve_together(
    build: Build, together: Callable[..., Call], tmp_path: Path, strategy: type
) -> None:
    servers = [build(strategy), build(strategy, on=UnixStreamServer, address=str(tmp_path / "server"))]
    together(*servers)
    for server in servers * 2:
        assert ask(server, b"hello\n") == b"HELLO\n"


def test_a_serial_strategy_is_serial_across_servers(build: Build, together: Callable[..., Call]) -> None:
    active: list[int] = []
    most = []

    def handler(request: Any, client_address: Any, server: Any) -> None:
        active.append(threading.get_ident())
        most.append(len(active))
        request.sendall(b"x")
        request.recv(1)
        active.pop()

    servers = [build(SyncMixIn, handler) for _ in range(3)]
    call = together(*servers)
    clients = [connect(server) for server in servers * 2]
    waiting = set(clients)
    while waiting:
        [client] = select.select(list(waiting), [], [], 10)[0]
        waiting.remove(client)
        assert active == [call.ident]
        client.close()
    assert most == [1] * 6


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_shutdown_of_one_of_two(build: Build, together: Callable[..., Call], strategy: type) -> None:
    first, second = build(strategy), build(strategy)
    call = together(first, second)
    within(10, first.shutdown)
    first.server_close()
    assert ask(second, b"hello\n") == b"HELLO\n"
    assert call.is_alive()
    within(10, second.shutdown)
    call.result()


def test_drain_of_one_of_two(build: Build, together: Callable[..., Call]) -> None:
    first, second = build(ThreadingMixIn, Hello), build(ThreadingMixIn)
    together(first, second)
    with connect(first) as client:
        assert client.recv(100)
        first.drain(60)
        wait_until(lambda: first.fileno() < 0)
        assert ask(second, b"hello\n") == b"HELLO\n"
        client.sendall(b"done\n")
        assert read_all(client) == b"done\n"
    wait_until(first._BaseServer__is_shut_down.is_set)
    assert ask(second, b"hello\n") == b"HELLO\n"


def test_a_child_of_one_server_lets_go_of_the_other_s_socket(
    build: Build, together: Callable[..., Call]
) -> None:
    first, second = build(ForkingMixIn, Hello), build(ForkingMixIn, Hello)
    together(first, second)
    with connect(first) as client:
        assert client.recv(100)
        within(10, second.shutdown)
        address = second.server_address
        second.server_close()
        with pytest.raises(ConnectionRefusedError):
            dial(socket.AF_INET, socket.SOCK_STREAM, address).close()


# Children -------------------------------------------------------------------------------------


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


# Strangers' ------------------------------------------------------------------------------------


class OldMixIn:
    """Written for socketserver years ago: it knows of template methods only."""

    def in_thread(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)  # type: ignore[attr-defined]
        except Exception:
            self.handle_error(request, client_address)  # type: ignore[attr-defined]
        finally:
            self.shutdown_request(request)  # type: ignore[attr-defined]

    def process_request(self, request: Any, client_address: Any) -> None:
        threading.Thread(target=self.in_thread, args=(request, client_address)).start()


def test_an_old_mix_in_completes_requests(build: Build, serve: Serve, recorder: Recorder) -> None:
    server = build(OldMixIn, Hello, max_active_requests=2)
    serve(server)
    with connect(server) as first, connect(server) as second, connect(server) as third:
        assert first.recv(100)
        assert second.recv(100)
        assert len(server.active_requests) == 2
        assert select.select([third], [], [], 0.05)[0] == []
        first.sendall(b"done\n")
        assert read_all(first) == b"done\n"
        assert third.recv(100)
    assert finished(recorder, 3)[0] == "completed"


def test_an_old_mix_in_fails_requests(build: Build, serve: Serve, recorder: Recorder) -> None:
    server = build(OldMixIn, Raising)
    server.error = ValueError("broken")
    serve(server)
    assert ask(server, b"") == b""
    assert finished(recorder) == ["failed"]
    assert recorder.requests == ["started", "failed", "finished"]


def test_an_old_mix_in_is_drained(build: Build, serve: Serve, recorder: Recorder) -> None:
    server = build(OldMixIn, Hello)
    call = serve(server)
    with connect(server) as client:
        assert client.recv(100)
        server.drain(0.05)
        assert is_closed(client)
        call.result()
    assert finished(recorder) == ["aborted"]


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/broken":
            raise ValueError("broken")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *args: Any) -> None:
        pass


ADOPTED = [http.server.HTTPServer, http.server.ThreadingHTTPServer]


@pytest.fixture(params=ADOPTED, ids=lambda cls: cls.__name__)
def adopted(request: pytest.FixtureRequest, closing: Closing, recorder: Recorder) -> Any:
    """A server of a class of the standard library's."""
    server = closing(adopt(request.param)(LOCALHOST, Page))
    server.hooks = recorder.hooks
    return server


def get(server: Any, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_foreign_servers_are_told_apart() -> None:
    assert is_foreign_server(http.server.HTTPServer)
    assert not is_foreign_server(adopt(http.server.HTTPServer))
    assert not is_foreign_server(TCPServer)
    assert not is_foreign_server(dict)


def test_adopted_class_keeps_its_name_and_its_methods() -> None:
    adopted = adopt(http.server.HTTPServer)
    assert adopted.__name__ == "HTTPServer"
    assert issubclass(adopted, http.server.HTTPServer)
    assert adopted.server_bind is http.server.HTTPServer.server_bind


def test_adopted_server_has_accounts_of_its_requests(adopted: Any, serve: Serve, recorder: Recorder) -> None:
    serve(adopted)
    assert get(adopted, "/page") == b"/page"
    assert finished(recorder) == ["completed"]
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        get(adopted, "/broken")
    assert finished(recorder, 2) == ["completed", "failed"]
    assert recorder.requests == ["started", "finished", "started", "failed", "finished"]


def test_adopted_server_drains_and_wakes(adopted: Any, serve: Serve) -> None:
    call = serve(adopted, poll_interval=60)
    assert get(adopted, "/page") == b"/page"
    adopted.drain(60)
    call.result()
    assert adopted.fileno() == -1


def test_adopted_server_shuts_down_at_once(adopted: Any, serve: Serve) -> None:
    call = serve(adopted, poll_interval=60)
    assert get(adopted, "/page") == b"/page"
    within(10, adopted.shutdown)
    call.result()


def test_adopted_server_on_its_own_reports_to_stderr(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    server = adopt(http.server.HTTPServer)(LOCALHOST, Page)
    serve(server)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        get(server, "/broken")
    assert "ValueError: broken" in capsys.readouterr().err


def test_adopted_server_that_forks(closing: Closing, serve: Serve, recorder: Recorder) -> None:
    server = closing(adopt(socketserver.ForkingTCPServer)(LOCALHOST, Page))
    server.hooks = recorder.hooks
    call = serve(server)
    assert get(server, "/page") == b"/page"
    assert finished(recorder) == ["completed"]
    server.drain(60)
    call.result()
    assert server.active_requests == {}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_adopted_server_under_a_strategy(
    closing: Closing, serve: Serve, recorder: Recorder, strategy: type
) -> None:
    server = compose(strategy, adopt(http.server.HTTPServer))(LOCALHOST, Page)
    server.hooks = recorder.hooks
    serve(server)
    for _ in range(3):
        assert get(server, "/page") == b"/page"
    assert finished(recorder, 3) == ["completed"] * 3


def test_adopted_server_with_a_handle_error_of_its_own(serve: Serve, recorder: Recorder) -> None:
    reported = []

    class Server(http.server.HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            reported.append(client_address)

    server = adopt(Server)(LOCALHOST, Page)
    server.hooks = recorder.hooks
    serve(server)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        get(server, "/broken")
    assert finished(recorder) == ["failed"]
    assert len(reported) == 1


# How it waits -----------------------------------------------------------------------------------


def test_a_strategy_may_wait_in_a_way_of_its_own() -> None:
    """The loop, handle_request() and the pump of a protocol wait by the poller_class."""
    made: list[object] = []

    class Noted(SelectorPoller):
        def __init__(self) -> None:
            super().__init__(selectors.SelectSelector())
            made.append(self)

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    class OwnWay:
        poller_class = Noted

    server: Any = compose(OwnWay)(LOCALHOST, Echo)
    for serve, pollers in ((server.serve_forever, 2), (server.handle_request, 4)):
        thread = threading.Thread(target=serve)
        thread.start()
        with socket.create_connection(server.server_address, timeout=10) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
        if serve == server.serve_forever:
            server.shutdown()
        thread.join(10)
        assert len(made) == pollers
    server.server_close()
