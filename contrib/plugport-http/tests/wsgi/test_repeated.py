"""Repeated requests on a connection: nothing that is stored of one is used for another."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from served import Client, receive_until, serving

from plugport_http.engine import Limits, ServerConnection
from plugport_http.wsgi.response import Exchange

STRATEGIES = ("threading", "select")
TEXT = [("Content-Type", "text/plain")]
GET = b"GET /again HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(params=STRATEGIES)
def connect(request: pytest.FixtureRequest, plugport_serve: Any) -> Callable[..., Any]:
    """connect(application, **options) serves it, and returns a connection to it."""

    def connect(application: Callable[..., Any], **options: Any) -> Any:
        return plugport_serve(serving(application), concurrency=request.param, **options).connect()

    return connect


def describe(environ: Any, start_response: Any) -> list[bytes]:
    """Answer with the contents of the environ and the body; leave a mark in the environ."""
    body = environ["wsgi.input"].read().decode()
    words = [environ["REQUEST_METHOD"], environ["REQUEST_URI"], environ.get("HTTP_MARK", ""), body]
    assert "mark" not in environ
    environ["mark"] = True
    start_response("200 OK", TEXT)
    return [" ".join(words).encode()]


def test_each_request_has_its_own_environ(connect: Any) -> None:
    with connect(describe) as sock:
        client = Client(sock)
        for _ in range(3):
            for _ in range(3):
                assert client.ask("GET", "/a", headers={"Mark": "1"})[2] == b"GET /a 1 "
            assert client.ask("POST", "/b", b"body", headers={"Mark": "2"})[2] == b"POST /b 2 body"
            assert client.ask("GET", "/a", headers={"Mark": "1"})[2] == b"GET /a 1 "
            assert client.ask("GET", "/c")[2] == b"GET /c  "


@pytest.mark.parametrize("size", [300, 446, 447, 448, 479, 480, 5000, 20000])
def test_repeated_requests_of_any_size(connect: Any, size: int) -> None:
    with connect(describe, max_line_size=30000) as sock:
        client = Client(sock)
        for _ in range(2):
            for _ in range(3):
                assert client.ask("GET", "/short")[2] == b"GET /short  "
            for _ in range(3):
                assert client.ask("GET", "/" + "x" * size)[2] == b"GET /%b  " % (b"x" * size)


def test_split_and_pipelined_requests_after_repeated_ones(connect: Any) -> None:
    with connect(describe) as sock:
        answer = b"GET /again  "
        for _ in range(2):
            for pieces, count in (
                ((GET,), 1),
                ((GET,), 1),
                ((GET[:20], GET[20:]), 1),
                ((GET + GET + GET,), 3),
                ((GET + GET[:7], GET[7:]), 2),
                ((b"\r\n", GET), 1),
            ):
                for piece in pieces:
                    sock.sendall(piece)
                received = receive_until(sock, answer)
                while received.count(answer) < count:
                    received += receive_until(sock, answer)


def test_response_to_repeated_request_can_differ(connect: Any) -> None:
    headers = [("Content-Type", "text/plain")]
    answers = iter(
        [
            ("200 OK", headers, [b"one"]),
            ("200 OK", headers, [b"two"]),
            ("200 OK", headers, [b"three"]),
            ("404 Not Found", headers, [b"three"]),
            ("404 Not Found", [("Content-Type", "text/html")], [b"three"]),
            ("404 Not Found", headers, []),
            ("404 Not Found", headers, iter([b"three"])),
            ("200 OK", headers, [b"one"]),
        ]
    )

    def application(environ: Any, start_response: Any) -> Any:
        status, fields, pieces = next(answers)
        start_response(status, fields)
        return pieces

    with connect(application) as sock:
        client = Client(sock)
        got = [client.ask("GET", "/") for _ in range(8)]
    seen = [
        (status, header["content-type"], header.get("content-length"), body) for status, header, body in got
    ]
    assert seen == [
        (200, "text/plain", "3", b"one"),
        (200, "text/plain", "3", b"two"),
        (200, "text/plain", "5", b"three"),
        (404, "text/plain", "5", b"three"),
        (404, "text/html", "5", b"three"),
        (404, "text/plain", "0", b""),
        (404, "text/plain", None, b"three"),
        (200, "text/plain", "3", b"one"),
    ]


def test_application_can_change_its_header_list(connect: Any) -> None:
    headers: list[tuple[str, str]] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        headers.append((f"Field-{len(headers)}", "there"))
        start_response("200 OK", headers)
        return [b"body"]

    with connect(application) as sock:
        client = Client(sock)
        for count in range(1, 5):
            assert sum(name.startswith("field-") for name in client.ask("GET", "/")[1]) == count


def test_application_can_change_items_of_header_list(connect: Any) -> None:
    headers = [["Count", "0"], ["Content-Type", "text/plain"]]

    def application(environ: Any, start_response: Any) -> list[bytes]:
        headers[0][1] = str(int(headers[0][1]) + 1)
        start_response("200 OK", headers)
        return [b"body"]

    with connect(application) as sock:
        client = Client(sock)
        assert [client.ask("GET", "/")[1]["count"] for _ in range(4)] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("size", ["0", "4"])
def test_length_of_head_response_after_repeated_request(connect: Any, size: str) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [b""] if size == "0" or "empty" in environ["REQUEST_URI"] else [b"body"]

    with connect(application) as sock:
        client = Client(sock)
        for _ in range(2):
            assert client.ask("GET", "/")[1]["content-length"] == size
            assert client.ask("HEAD", "/")[1].get("content-length") == (None if size == "0" else "4")
            assert "content-length" not in client.ask("HEAD", "/empty")[1]


def test_failed_repeated_request_is_answered_and_last(connect: Any) -> None:
    count = 0

    def application(environ: Any, start_response: Any) -> list[bytes]:
        nonlocal count
        count += 1
        if count % 3 == 0:
            raise ValueError("each third")
        start_response("200 OK", TEXT)
        return [b"well"]

    with connect(application) as sock:
        client = Client(sock)
        assert [client.ask("GET", "/")[0] for _ in range(3)] == [200, 200, 500]
        assert sock.recv(1) == b""


def test_start_response_is_required_for_each_request(connect: Any) -> None:
    count = 0

    def application(environ: Any, start_response: Any) -> list[bytes]:
        nonlocal count
        count += 1
        if count < 3:
            start_response("200 OK", TEXT)
        return [b"body"]

    with connect(application) as sock:
        client = Client(sock)
        assert [client.ask("GET", "/")[0] for _ in range(3)] == [200, 200, 500]


def test_last_response_has_connection_close(connect: Any) -> None:
    with connect(describe, max_requests=4) as sock:
        client = Client(sock)
        got = [client.ask("GET", "/")[1].get("connection") for _ in range(4)]
        assert got == [None, None, None, "close"]
        assert sock.recv(1) == b""


def test_connection_without_further_request_is_closed_silently(
    connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(describe, keep_alive_timeout=0.2) as sock:
        client = Client(sock)
        for _ in range(3):
            assert client.ask("GET", "/")[0] == 200
        assert sock.recv(1) == b""
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("length", [478, 479, 480])
def test_bytes_after_request_of_any_length_are_read(connect: Any, length: int, kept: bool) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [b"x" * 70_000]

    request = GET[:-2] + (b"" if kept else b"Connection: close\r\n") + b"Field: %b\r\n\r\n"
    request %= b"y" * (length - len(request) + 2)
    assert len(request) == length
    with connect(application) as sock:
        client = Client(sock)
        assert client.ask("GET", "/short")[0] == 200
        sock.sendall(request + GET)
        received = b""
        while received.count(b"x" * 70_000) < (2 if kept else 1):
            data = sock.recv(65536)  # not a reset
            assert data
            received += data


@pytest.mark.parametrize("chunked", [False, True])
def test_body_that_arrives_with_its_head_is_dropped_after_long_request(connect: Any, chunked: bool) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start = environ["wsgi.input"].read(1)
        start_response("200 OK", TEXT)
        return [start or b"none"]

    body = b"b" * 70_000
    head = b"POST /one HTTP/1.1\r\nHost: a\r\n"
    if chunked:
        post = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        post = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    with connect(application) as sock:
        for request, answer in ((GET, b"none"), (GET, b"none"), (post, b"b"), (GET, b"none")):
            sock.sendall(request)
            received = receive_until(sock, b"\r\n\r\n" + answer)
            assert b"connection: close" not in received


class _Link:
    """Records what is sent."""

    def __init__(self) -> None:
        self.sent = b""

    def send(self, data: bytes) -> None:
        self.sent += data


def test_date_is_current_for_each_response(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    for module in ("connection", "response"):
        monkeypatch.setattr(f"plugport_http.engine.{module}.time", lambda: now)
    http, link = ServerConnection(Limits()), _Link()
    exchange = Exchange(describe, http, link)
    http.receive_data(GET)
    request: Any = http.next_event()
    dates = []
    for moment in (1_800_000_000.0, 1_800_000_000.9, 1_800_000_001.0, 1_800_000_000.5, 1_800_000_007.0):
        now, link.sent = moment, b""
        if http.request is None:
            assert http.receive_repeated(GET) is request
        environ = {"wsgi.input": _Empty(), "REQUEST_METHOD": "GET", "REQUEST_URI": "/"}
        exchange.respond(environ, request)
        dates.append(link.sent.split(b"date: ")[1].split(b" GMT")[0][-2:])
    assert dates == [b"00", b"00", b"01", b"00", b"07"]


def test_response_is_in_memory_once_while_it_is_sent() -> None:
    body = bytes(100)
    holders = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [body]

    class Link:
        def send(self, data: bytes) -> None:
            holders.append(sys.getrefcount(body) - before)

    http = ServerConnection(Limits())
    exchange = Exchange(application, http, Link())
    http.receive_data(GET)
    request: Any = http.next_event()
    before = sys.getrefcount(body)
    exchange.respond({}, request)
    assert holders == [0]


class _Empty:
    def read(self) -> bytes:
        return b""
