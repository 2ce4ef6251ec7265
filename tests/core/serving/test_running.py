"""The serving loop: a server's life, several servers in one thread, strategies that know nothing of hooks."""

from __future__ import annotations

import asyncio
import select
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clients import ask, connect, dial, is_closed, read_all
from composed import (
    LOCALHOST,
    STRATEGIES,
    Build,
    Hello,
    Raising,
    Serve,
    compose,
    finished,
)
from patience import PATIENCE, Call, wait_until, within
from recording import Recorder

import plugport
from plugport.loop.poller import SelectorPoller
from plugport_builtins.concurrency.forking import ForkingMixIn
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.unix import UnixStreamServer

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


@pytest.mark.parametrize("strategy", ["threading", "select", "asyncio", "forking"])
def test_a_users_class_called_baseserver_has_its_service_actions_called(strategy: str, serve: Serve) -> None:
    called = threading.Event()

    class BaseServer(TCPServer):
        def service_actions(self) -> None:
            called.set()
            super().service_actions()

    serve(plugport.compose(BaseServer, strategy)(("127.0.0.1", 0), Hello), 0.05)
    assert called.wait(PATIENCE)
