"""The hooks of a request, under every strategy that shares the serving loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clients import ask, connect, datagram_client, read_all, vanish
from composed import STRATEGIES, Build, Raising, Serve, finished
from patience import wait_until
from recording import Recorder

from plugport_builtins.servers.udp import UDPServer


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
