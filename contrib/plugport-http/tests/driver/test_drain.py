"""The drain: idle connections do not delay it, and no request that was sent is lost."""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from served import (
    APPLICATIONS,
    PATIENCE,
    Client,
    Command,
    command,
    eventually,
    receive_all,
    receive_until,
    wsgi_cases,
)

OPTIONS = {
    "http-files": f"root={APPLICATIONS}",
    "wsgi": f"app={APPLICATIONS / 'wsgi_cases.py'}:app",
    "asgi": f"app={APPLICATIONS / 'asgi_cases.py'}:app",
}
APP = f"{APPLICATIONS / 'wsgi_cases.py'}:app"
TARGETS = {"http-files": "/wsgi_cases.py", "wsgi": "/hello", "asgi": "/hello"}
COMBINATIONS = [
    *(
        (handler, strategy)
        for handler in ("http-files", "wsgi")
        for strategy in ("threading", "thread-pool", "select")
    ),
    *((handler, "asyncio") for handler in OPTIONS),
]
combinations = pytest.mark.parametrize(("handler", "strategy"), COMBINATIONS)


@contextmanager
def connected(handler: str, strategy: str, folder: Path) -> Iterator[tuple[Command, socket.socket]]:
    """A service with long timeouts, and a connection to it."""
    path = folder / "socket"
    options = ("-o", OPTIONS[handler], "-o", "keep_alive_timeout=600", "-o", "header_timeout=600")
    with command(handler, f"unix://{path}", "-c", strategy, "--grace", "600", *options) as service:
        service.wait_for_url()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(path))
            yield service, sock


@combinations
@pytest.mark.parametrize("asks", [True, False])
def test_silent_client_does_not_delay_drain(handler: str, strategy: str, asks: bool, tmp_path: Path) -> None:
    with connected(handler, strategy, tmp_path) as (service, sock):
        if asks:
            assert Client(sock).ask("GET", TARGETS[handler])[0] == 200
        else:  # it is served when another is
            with socket.socket(socket.AF_UNIX) as other:
                other.connect(sock.getpeername())
                assert Client(other).ask("GET", TARGETS[handler])[0] == 200
        service.process.terminate()
        assert receive_all(sock) == b""
        assert service.process.wait(PATIENCE) == 0


@combinations
@pytest.mark.parametrize("asks", [True, False])
def test_request_in_transit_is_answered_in_drain(
    plugport_serve: Any, monkeypatch: pytest.MonkeyPatch, handler: str, strategy: str, asks: bool
) -> None:
    for name in ("MIN_DRAIN_WAIT", "_MAX_DRAIN_WAIT"):  # so that a busy machine is not too late
        monkeypatch.setattr(f"plugport_http.sockets.{name}", PATIENCE)
    option, _, value = OPTIONS[handler].partition("=")
    served = plugport_serve(handler, concurrency=strategy, **{option: value})
    with served.connect() as sock:
        served.wait_for_event("request_started")
        if asks:
            assert Client(sock).ask("GET", TARGETS[handler])[0] == 200
        served.server.drain(2 * PATIENCE)
        eventually(lambda: served.server.socket.fileno() < 0)  # then all handlers have been notified
        sock.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % TARGETS[handler].encode())
        answer = receive_all(sock)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    served.join()


def unread(sock: Any) -> int:
    """Return the number of bytes that were received and not read."""
    return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)


@combinations
def test_partial_request_has_header_timeout_in_drain(
    plugport_serve: Any, monkeypatch: pytest.MonkeyPatch, handler: str, strategy: str
) -> None:
    monkeypatch.setattr("plugport_http.sockets.MIN_DRAIN_WAIT", 0.3)
    option, _, value = OPTIONS[handler].partition("=")
    served = plugport_serve(handler, concurrency=strategy, **{option: value})
    request = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % TARGETS[handler].encode()
    waited = threading.Event()
    with served.connect() as sock:
        assert Client(sock).ask("GET", TARGETS[handler])[0] == 200
        sock.sendall(request[:10])
        (context,) = served.server.active_requests.values()
        eventually(lambda: not unread(context.request))
        loop = served.server.serving_loop
        served.server.drain_callbacks.add(lambda: loop.call_later(0.6, waited.set))
        served.server.drain(2 * PATIENCE)
        assert waited.wait(PATIENCE)  # longer than for a request without a first byte
        sock.sendall(request[10:])
        assert b"\r\nconnection: close\r\n" in receive_all(sock)
    served.join()


@pytest.mark.parametrize("strategy", ["threading", "thread-pool", "asyncio"])
def test_drain_finishes_requests_and_closes_idle_connections(plugport_serve: Any, strategy: str) -> None:
    served = plugport_serve("wsgi", concurrency=strategy, app=APP)
    gate = wsgi_cases()["gate"]
    gate.clear()
    waiting, idle = served.connect(), served.connect()
    assert Client(idle).ask("GET", "/hello")[0] == 200
    waiting.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    receive_until(waiting, b"waiting ")
    served.service.stop()
    assert idle.recv(1) == b""
    gate.set()
    assert receive_all(waiting).endswith(b"0\r\n\r\n")
    served.join()


@pytest.mark.parametrize("strategy", ["threading", "thread-pool", "asyncio"])
def test_response_in_drain_has_connection_close(plugport_serve: Any, strategy: str) -> None:
    served = plugport_serve("wsgi", concurrency=strategy, app=APP)
    gate, entered = wsgi_cases()["gate"], wsgi_cases()["entered"]
    gate.clear()
    entered.clear()
    with served.connect() as sock:
        client = Client(sock)
        assert "connection" not in client.ask("GET", "/hello")[1]
        client.request("GET", "/late")
        assert entered.wait(30)
        served.service.stop()
        eventually(lambda: served.server.socket.fileno() < 0)  # then all handlers have been notified
        gate.set()
        response = client.getresponse()
        assert response.getheader("connection") == "close"
        assert response.read() == b"late"
        assert sock.recv(1) == b""
    served.join()


def test_drain_under_select_closes_idle_connections(plugport_serve: Any) -> None:
    served = plugport_serve("wsgi", concurrency="select", app=APP)
    idle = served.connect()
    assert Client(idle).ask("GET", "/hello")[0] == 200
    served.service.stop()
    assert idle.recv(1) == b""
    served.join()
