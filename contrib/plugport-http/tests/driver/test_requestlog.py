"""The option log_requests: one log line for each request, under all handlers."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import APPLICATIONS, Client, eventually, raw, receive_until

LINE = re.compile(r'127\.0\.0\.1:\d+ "(.*)" (\d+|-), (\d+) bytes in \d+\.\d{3} s(, aborted)?')
#: What serves GET /hello with 13 bytes, by handler and strategy.
SERVERS = [
    ("wsgi", "threading"),
    ("wsgi", "select"),
    ("http-files", "threading"),
    ("http-files", "select"),
    ("asgi", "asyncio"),
]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[int], list[tuple[str, ...]]]:
    """logged(count) waits for *count* lines, and returns (request line, status, bytes, suffix) of each."""

    def lines() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.name == "plugport.http.requests"]

    def parsed(count: int) -> list[tuple[str, ...]]:
        eventually(lambda: len(lines()) >= count)
        matches = [LINE.fullmatch(line) for line in lines()]
        assert all(matches), lines()
        assert len(matches) == count, lines()
        return [tuple(match.groups(default="")) for match in matches if match is not None]

    return parsed


@pytest.fixture
def served(plugport_serve: Any, tmp_path: Path) -> Callable[..., Any]:
    """served(handler, strategy) serves /hello."""

    def serve(handler: str, strategy: str, **options: Any) -> Any:
        if handler == "http-files":
            (tmp_path / "hello").write_bytes(b"Hello, world!")
            (tmp_path / "huge").write_bytes(bytes(64 * 2**20))
            options["root"] = str(tmp_path)
        else:
            options["app"] = f"{APPLICATIONS / f'{handler}_cases.py'}:app"
        return plugport_serve(handler, "tcp://127.0.0.1:0", strategy, log_requests=True, **options)

    return serve


@pytest.mark.parametrize(("handler", "strategy"), SERVERS)
def test_each_request_is_logged(served: Any, logged: Any, handler: str, strategy: str) -> None:
    with served(handler, strategy).connect() as sock:
        client = Client(sock)
        size = len(client.ask("GET", "/hello?a=b")[2])
        assert client.ask("HEAD", "/hello")[0] == 200
        again = [client.ask("GET", "/hello?a=b")[0] for _ in range(3)]
        assert again == [200] * 3
    hello, head = ("GET /hello?a=b HTTP/1.1", "200", str(size), ""), ("HEAD /hello HTTP/1.1", "200", "0", "")
    assert logged(5) == [hello, head, hello, hello, hello]


@pytest.mark.parametrize(("handler", "strategy"), SERVERS)
def test_invalid_head_is_logged_without_request_line(
    served: Any, logged: Any, handler: str, strategy: str
) -> None:
    answer = raw(served(handler, strategy).connect(), b"GET / HTTP/1.1\r\nHost : evil\r\n\r\n")
    size = len(answer.partition(b"\r\n\r\n")[2])
    assert logged(1) == [("-", "400", str(size), "")]


@pytest.mark.parametrize("strategy", ["threading", "select"])
def test_streamed_bytes_are_logged(served: Any, logged: Any, strategy: str) -> None:
    with served("wsgi", strategy).connect() as sock:
        client = Client(sock)
        assert client.ask("GET", "/generate")[2] == b"one two three"
        assert client.ask("POST", "/echo", b"a body")[2] == b"a body"
        assert client.ask("GET", "/write")[2] == b"written and returned"
        assert client.ask("GET", "/fail")[0] == 500
    lines = logged(4)
    assert lines[:3] == [
        ("GET /generate HTTP/1.1", "200", "13", ""),
        ("POST /echo HTTP/1.1", "200", "6", ""),
        ("GET /write HTTP/1.1", "200", "20", ""),
    ]
    assert lines[3][:2] == ("GET /fail HTTP/1.1", "500")


@pytest.mark.parametrize(
    ("handler", "strategy", "target"),
    [("wsgi", "threading", b"/huge"), ("wsgi", "select", b"/huge"), ("http-files", "select", b"/huge")],
)
def test_disconnect_ends_websocket(
    served: Any, logged: Any, handler: str, strategy: str, target: bytes
) -> None:
    with served(handler, strategy).connect() as sock:
        sock.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        receive_until(sock, b"\r\n\r\n")
    ((line, status, _, end),) = logged(1)
    assert (line, status, end) == (f"GET {target.decode()} HTTP/1.1", "200", ", aborted")


def test_failure_in_response_resets_connection(served: Any, logged: Any) -> None:
    with served("wsgi", "select").connect() as sock:
        sock.sendall(b"GET /fail_late HTTP/1.1\r\nHost: a\r\n\r\n")
        receive_until(sock, b"begun")
    assert logged(1) == [("GET /fail_late HTTP/1.1", "200", "6", ", aborted")]


def test_no_request_is_logged_without_option(plugport_serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        served = plugport_serve("wsgi", app=f"{APPLICATIONS / 'wsgi_cases.py'}:app")
        with served.connect() as sock:
            assert Client(sock).ask("GET", "/hello")[0] == 200
        served.wait_for_event("request_finished")
    assert not [one for one in caplog.records if one.name == "plugport.http.requests"]
