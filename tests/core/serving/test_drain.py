"""Drain and stop, under every strategy that shares the serving loop."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from clients import ask, connect, datagram_client, dial, is_closed, read_all
from composed import (
    CONCURRENT,
    STRATEGIES,
    Build,
    Hello,
    Serve,
    finished,
)
from patience import wait_until, within
from recording import Recorder

from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer


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


def test_drain_gives_up_on_a_thread_that_will_not_end(
    build: Build, serve: Serve, recorder: Recorder, short_abort_grace: None
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
