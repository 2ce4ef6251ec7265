"""How requests are taken: one by one, within the limit of active requests, or as the strategy says."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from clients import connect, datagram_client, read_all
from composed import STRATEGIES, Build, Hello, Serve, finished
from patience import Call
from recording import Recorder

from plugport import compose
from plugport.contracts.hooks import NO_HOOKS
from plugport_builtins.concurrency.select import SelectMixIn
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.udp import UDPServer


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


def test_a_server_that_is_dropped_is_freed_without_the_garbage_collector() -> None:
    server: Any = compose("tcp", "sync")(("127.0.0.1", 0), Hello, bind_and_activate=False)
    reference = weakref.ref(server)
    server.socket.close()
    gc.disable()
    try:
        del server
        assert reference() is None
    finally:
        gc.enable()
