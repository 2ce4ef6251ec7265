"""The handler, the server and the strategy, each served to a client; and the counting."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from plugport import compose
from plugport.plugin.manager import load_plugins

from plugport_example.outcomes import outcomes
from plugport_example.upper import UpperHandler


@pytest.fixture
def serve() -> Iterator[Callable[..., Any]]:
    """serve(server, strategy, **options) returns a server of that combination, at work."""
    servers = []

    def start(server_name: str, strategy: str, **options: Any) -> Any:
        server = compose(server_name, strategy)(("127.0.0.1", 0), UpperHandler)
        vars(server).update(hooks=load_plugins().server_hooks(), **options)
        threading.Thread(target=server.serve_forever).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def connect(server: Any) -> socket.socket:
    client = socket.socket(socket.AF_INET, server.socket_type)
    client.settimeout(10)
    client.connect(server.server_address)
    return client


def ask(client: socket.socket, question: bytes) -> bytes:
    client.send(question)
    return client.recv(100)


@pytest.mark.parametrize("server_name", ["tcp", "fair", "udp"])
@pytest.mark.parametrize("strategy", ["sync", "threading", "bounded"])
def test_what_comes_goes_back_in_capitals(serve: Any, server_name: str, strategy: str) -> None:
    with connect(serve(server_name, strategy)) as client:
        assert ask(client, b"hello") == b"HELLO"


def test_a_client_has_no_more_connections_than_it_may(serve: Any) -> None:
    server = serve("fair", "threading", max_per_client=1)
    with connect(server) as first, connect(server) as second:
        assert second.recv(100) == b""
        assert ask(first, b"still here") == b"STILL HERE"


def test_who_finds_all_threads_busy_is_served_later(serve: Any) -> None:
    server = serve("tcp", "bounded", max_threads=1)
    with connect(server) as first, connect(server) as second:
        assert ask(first, b"first") == b"FIRST"
        second.send(b"second")
        assert ask(first, b"again") == b"AGAIN"
        assert len(server.active_requests) == 1
        first.close()
        assert second.recv(100) == b"SECOND"


def test_requests_are_counted_by_their_outcomes(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = serve("fair", "bounded", max_per_client=1)
    with connect(server) as first, connect(server) as second:
        assert second.recv(100) == b""
        assert ask(first, b"hello") == b"HELLO"
    server.shutdown()
    server.server_close()
    assert outcomes[server] == {"completed": 1, "rejected": 1}
    with caplog.at_level(logging.INFO):
        server.hooks.server_stopped(server=server)
    assert "1 rejected, 1 completed" in caplog.text
    assert server not in outcomes
