"""A drain of a service that is a process of its own: nobody who waits holds it up, and nothing is lost."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from served import APPLICATIONS, PATIENCE, Client, Command, command, eventually, receive_all, receive_until

OPTIONS = {
    "http-files": f"root={APPLICATIONS}",
    "wsgi": f"app={APPLICATIONS / 'wsgi_cases.py'}:app",
    "asgi": f"app={APPLICATIONS / 'asgi_cases.py'}:app",
}
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
    """A service whose clients have all the time that they want, and one of them."""
    path = folder / "socket"
    options = ("-o", OPTIONS[handler], "-o", "keep_alive_timeout=600", "-o", "header_timeout=600")
    with command(handler, f"unix://{path}", "-c", strategy, "--grace", "600", *options) as service:
        service.wait_for_url()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(path))
            yield service, sock


def begin_to_drain(service: Command) -> None:
    """Have it drain, and wait until it does."""
    service.process.terminate()
    eventually(lambda: any("is stopping" in line for line in service.lines))


@combinations
@pytest.mark.parametrize("asks", [True, False])
def test_a_client_that_says_nothing_does_not_hold_it_up(
    handler: str, strategy: str, asks: bool, tmp_path: Path
) -> None:
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
def test_a_request_that_is_on_its_way_is_answered(
    plugport_serve: Any, monkeypatch: pytest.MonkeyPatch, handler: str, strategy: str, asks: bool
) -> None:
    for name in ("LAST_WAIT", "_FIRST_WAIT"):  # so that a busy machine is not too late
        monkeypatch.setattr(f"plugport_http.waiting.{name}", PATIENCE)
    option, _, value = OPTIONS[handler].partition("=")
    served = plugport_serve(handler, concurrency=strategy, **{option: value})
    with served.connect() as sock:
        served.wait_for_event("request_started")
        if asks:
            assert Client(sock).ask("GET", TARGETS[handler])[0] == 200
        served.server.drain(2 * PATIENCE)
        eventually(lambda: served.server.socket.fileno() < 0)  # then all have been told
        sock.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % TARGETS[handler].encode())
        answer = receive_all(sock)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    served.join()


@combinations
def test_a_request_of_which_a_part_has_come_has_its_time(handler: str, strategy: str, tmp_path: Path) -> None:
    with connected(handler, strategy, tmp_path) as (service, sock):
        request = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % TARGETS[handler].encode()
        sock.sendall(request)
        receive_until(sock, b"\r\n\r\n")
        sock.sendall(request[:10])
        begin_to_drain(service)
        time.sleep(1.0)  # longer than it waits for one of which nothing has come
        sock.sendall(request[10:])
        assert b"\r\nconnection: close\r\n" in receive_until(sock, b"\r\n\r\n")
