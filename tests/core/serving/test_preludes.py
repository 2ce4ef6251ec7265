"""Preludes: where connections wait until what must be seen of them has been seen."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import authority
from clients import Client, connect, is_closed, read_all
from leaks import open_files
from patience import Call, wait_until, within
from recording import Recorder

from plugport.errors import PreludeError
from plugport.handlers.base import StreamRequestHandler
from plugport.serving.preludes import Steps, peek, receiver_of
from plugport_builtins.concurrency.forking import ForkingMixIn
from plugport_builtins.concurrency.select import SelectMixIn
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.unix import UnixStreamServer

Serve = Callable[..., Call]
Build = Callable[..., Any]


class Line(StreamRequestHandler):
    """Sends back who it is, and a line."""

    def handle(self) -> None:
        self.wfile.write(f"{self.client_address} ".encode() + self.rfile.readline())


class Named:
    """Five bytes are the client's name; how often it was looked for is counted."""

    looks = 0
    consumes = True

    def preludes(self) -> Any:
        return (self.name,)

    def name(self, request: Any, client_address: Any) -> Steps:
        reading = peek(request, 5)
        while True:
            self.looks += 1
            try:
                wanted = next(reading)
            except StopIteration as end:
                name = end.value
                break
            yield wanted
        if self.consumes:
            request.recv(5)
        if name == b"break":
            raise RuntimeError("a bug of the prelude's")
        return name.decode()


@pytest.fixture
def build(closing: Any, recorder: Recorder) -> Build:
    def build_server(
        strategy: type, *, on: Any = TCPServer, address: Any = ("127.0.0.1", 0), **members: Any
    ) -> Any:
        server = closing(type("Server", (Named, strategy, on), members)(address, Line))
        server.hooks = recorder.hooks
        return server

    return build_server


def reasons(recorder: Recorder, count: int) -> list[str]:
    """Why so many were turned away."""
    wait_until(lambda: len(recorder.of("request_rejected")) >= count, what="request_rejected")
    return [call["reason"] for call in recorder.of("request_rejected")]


@contextlib.contextmanager
def silent(server: Any, count: int, said: bytes = b"") -> Iterator[list[Client]]:
    """Clients that do not say who they are."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(count)]
        for client in clients:
            client.sendall(said)
        yield clients


# Waiting costs nothing ------------------------------------------------------------------------


def test_a_server_without_preludes_has_no_waiting_room(serve: Serve, closing: Any) -> None:
    server = closing(TCPServer(("127.0.0.1", 0), Line))
    serve(server)
    with connect(server) as client:
        client.sendall(b"hello\n")
        assert read_all(client).endswith(b"hello\n")
    assert server.intake.pending is None


def test_the_poller_waits_for_as_many_bytes_as_are_wanted(build: Build, serve: Serve) -> None:
    server = build(ThreadingMixIn)
    serve(server)
    with connect(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"alic":
            client.sendall(bytes([byte]))
            time.sleep(0.01)  # so that each arrives for itself
        assert server.looks <= 2  # at the beginning, and at most once that it was too early
        client.sendall(b"ehello\n")
        assert read_all(client) == b"alice hello\n"
    assert server.looks <= 3


def test_where_the_poller_can_not_wait_it_is_not_asked_again_and_again(
    build: Build, serve: Serve, tmp_path: Path
) -> None:
    server = build(ThreadingMixIn, on=UnixStreamServer, address=str(tmp_path / "socket"))
    serve(server)
    with silent(server, 5, b"alic") as clients:
        wait_until(lambda: len(server.intake.pending or ()) == 5)
        time.sleep(0.3)
        assert server.looks <= 5 * 10
        for client in clients:
            client.sendall(b"ehello\n")
            assert read_all(client) == b"alice hello\n"


def test_bytes_that_stay_are_the_handlers(build: Build, serve: Serve) -> None:
    server = build(ThreadingMixIn, consumes=False)
    serve(server)
    with connect(server) as client:
        client.sendall(b"al")
        wait_until(lambda: server.intake.pending)
        client.sendall(b"ice")
        # The handler waits for a byte, and not for the five that were waited for before.
        client.sendall(b"\n")
        assert read_all(client) == b"alice alice\n"


def test_the_timeout_of_the_connection_is_as_it_was(build: Build, serve: Serve) -> None:
    timeouts: list[float | None] = []

    def handler(request: Any, client_address: Any, server: Any) -> None:
        timeouts.append(request.gettimeout())

    for idle_timeout in (None, 7.0):
        server = build(SyncMixIn, idle_timeout=idle_timeout)
        server.RequestHandlerClass = handler
        serve(server)
        with connect(server) as client:
            client.sendall(b"alice")
            assert is_closed(client)
    assert timeouts == [None, 7.0]


# Who does not begin ---------------------------------------------------------------------------


def test_a_prelude_that_raises_harms_nobody_else(
    build: Build, serve: Serve, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    server = build(ThreadingMixIn)
    serve(server)
    with connect(server) as client:
        client.sendall(b"break")
        assert is_closed(client)
    assert reasons(recorder, 1) == ["its prelude raised"]
    with connect(server) as client:
        client.sendall(b"alicehello\n")
        assert read_all(client) == b"alice hello\n"


def test_a_connection_that_is_reset(build: Build, serve: Serve, recorder: Recorder) -> None:
    server = build(ThreadingMixIn)
    serve(server)
    client = connect(server)
    client.sendall(b"al")
    wait_until(lambda: server.intake.pending)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    socket.socket.close(client)
    [reason] = reasons(recorder, 1)
    assert "the connection broke" in reason


def test_what_came_while_the_loop_was_busy_is_in_time(build: Build, serve: Serve) -> None:
    gate = threading.Event()
    server = build(SyncMixIn, prelude_timeout=0.1)
    handler = server.RequestHandlerClass
    server.RequestHandlerClass = lambda *args: (gate.wait(10), handler(*args))
    serve(server)
    with connect(server) as busy, connect(server) as other:
        other.sendall(b"al")
        wait_until(lambda: server.intake.pending)
        busy.sendall(b"alicehello\n")
        wait_until(lambda: server.active_requests)
        other.sendall(b"ice")
        time.sleep(0.15)
        gate.set()
        assert read_all(busy) == b"alice hello\n"
        other.sendall(b"hello\n")
        assert read_all(other) == b"alice hello\n"


def test_without_descriptors_who_has_waited_longest_goes(
    build: Build, serve: Serve, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = build(ThreadingMixIn)
    serve(server)
    get_request = server.get_request
    failures = [OSError(errno.EMFILE, "too many")]

    def out_of_descriptors() -> Any:
        if failures:
            raise failures.pop()
        return get_request()

    with silent(server, 4) as clients:
        wait_until(lambda: len(server.intake.pending or ()) == 4)
        monkeypatch.setattr(server, "get_request", out_of_descriptors)
        with connect(server) as client:
            client.sendall(b"alicehello\n")
            assert read_all(client) == b"alice hello\n"
        assert reasons(recorder, 2) == ["there are no descriptors left"] * 2
        assert all(is_closed(gone) for gone in clients[:2])
        assert len(server.intake.pending or ()) == 2


@pytest.mark.parametrize("strategy", [SyncMixIn, ForkingMixIn, SelectMixIn])
def test_shutdown_closes_who_waits(build: Build, serve: Serve, recorder: Recorder, strategy: type) -> None:
    before = open_files()
    server = build(strategy)
    call = serve(server)
    with silent(server, 3, b"al") as clients:
        wait_until(lambda: len(server.intake.pending or ()) == 3)
        within(5, server.shutdown)
        call.result()
        assert reasons(recorder, 3) == ["the service has ended"] * 3
        assert all(is_closed(client) for client in clients)
    server.server_close()
    assert open_files() == before


# Children -------------------------------------------------------------------------------------


def test_a_child_holds_nobody_who_waits(build: Build, serve: Serve, tmp_path: Path) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        request.sendall(b"%d\n" % len(os.listdir("/proc/self/fd")))
        request.recv(1)

    server = build(ForkingMixIn)
    server.RequestHandlerClass = handler
    serve(server)

    def open_in_child() -> int:
        with connect(server) as client:
            client.sendall(b"alice")
            return int(client.makefile().readline())

    alone = open_in_child()
    with silent(server, 20, b"al"):
        wait_until(lambda: len(server.intake.pending or ()) == 20)
        # The clients' own ends are in this process, and so in the child.
        assert open_in_child() == alone + 20


def test_a_child_holds_nobody_who_waits_for_another_server(build: Build, serve: Serve) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        request.sendall(b"%d\n" % len(os.listdir("/proc/self/fd")))
        request.recv(1)

    server, other = build(ForkingMixIn), build(ForkingMixIn)
    server.RequestHandlerClass = handler
    serving = threading.Thread(target=server.serve_together, args=([server, other],))
    serving.start()

    def open_in_child() -> int:
        with connect(server) as client:
            client.sendall(b"alice")
            return int(client.makefile().readline())

    try:
        alone = open_in_child()
        with silent(other, 20, b"al"):
            wait_until(lambda: len(other.intake.pending or ()) == 20)
            assert open_in_child() == alone + 20  # the clients' own ends
    finally:
        server.shutdown()
        other.shutdown()
        serving.join()


# handle_request() -----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [SyncMixIn, ThreadingMixIn, ForkingMixIn, SelectMixIn])
def test_handle_request_waits_for_the_prelude(build: Build, recorder: Recorder, strategy: type) -> None:
    server = build(strategy)
    call = Call(server.handle_request)
    with connect(server) as mute, connect(server) as client:
        client.sendall(b"al")
        wait_until(lambda: len(server.intake.pending or ()) == 2)
        client.sendall(b"icehello\n")
        assert read_all(client) == b"alice hello\n"
        call.result()
        # Who has not begun is there still, for the next one.
        call = Call(server.handle_request)
        mute.sendall(b"carolgood day\n")
        assert read_all(mute) == b"carol good day\n"
        call.result()
    assert recorder.of("request_rejected") == []


def test_handle_request_handles_one(build: Build, recorder: Recorder) -> None:
    server = build(SyncMixIn)
    with silent(server, 3, b"al") as clients:
        server.timeout = 0.05
        server.handle_request()
        assert len(server.intake.pending or ()) == 3
        for client in clients:
            client.sendall(b"icehello\n")
        for count in (1, 2, 3):
            within(5, server.handle_request)
            assert len(recorder.of("request_finished")) == count
        assert [read_all(client) for client in clients] == [b"alice hello\n"] * 3


def test_handle_request_calls_handle_timeout(build: Build) -> None:
    calls = []
    server = build(
        SyncMixIn, timeout=0.05, handle_timeout=lambda self: calls.append(len(self.intake.pending))
    )
    with connect(server) as client:
        within(5, server.handle_request)
        assert calls == [1]
        server.server_close()
        assert is_closed(client)


# TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority().write(tmp_path_factory.mktemp("tls") / "both.pem")


def test_a_prelude_comes_before_the_handshake_of_a_wrapped_socket(
    build: Build, serve: Serve, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = build(ThreadingMixIn, name=raw_name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    serve(server)
    trusting = authority().client()
    with connect(server) as client:
        client.sendall(b"alice")
        with trusting.wrap_socket(client, server_hostname="localhost") as secure:
            secure.sendall(b"hello\n")
            assert read_all(secure) == b"alice hello\n"


def raw_name(server: Any, request: Any, client_address: Any) -> Steps:
    name = yield from peek(request, 5)
    receiver_of(request)(5)
    return name.decode()


# peek() ---------------------------------------------------------------------------------------


def test_peek() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        steps = peek(ours, 3)
        assert next(steps) == 3
        theirs.sendall(b"ab")
        assert next(steps) == 3
        theirs.sendall(b"cd")
        with pytest.raises(StopIteration) as end:
            next(steps)
        assert end.value.value == b"abc"
        assert ours.recv(10) == b"abcd"
        theirs.close()
        with pytest.raises(PreludeError, match="closed the connection"):
            next(peek(ours, 1))
