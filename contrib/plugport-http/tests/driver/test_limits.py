"""The timeouts and limits of a connection, and how it ends, under each kind of strategy."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from plugport.errors import OptionError
from plugport_testing.memory import MemoryConnection
from plugport_testing.plugin import Serve
from plugport_testing.waiting import PATIENCE

from plugport_http.engine import Request, ResponseHead
from plugport_http.protocol import HTTPProtocol

STRATEGIES = ["threading", "select", "asyncio"]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Counter(HTTPProtocol):
    """Answers with the number of bytes in the body; /fail raises, /ignore does not read the body."""

    def request_received(self, request: Request) -> None:
        self.count = 0
        if request.path == b"/fail":
            raise ValueError("failed on purpose")
        if request.path == b"/ignore":
            self.send_response(ResponseHead(200, [(b"content-length", b"7")]), b"ignored")
        else:
            self.read_body(True)

    def body_received(self, data: bytes) -> None:
        self.count += len(data)

    def body_ended(self) -> None:
        self.start_response(ResponseHead(200, []))
        self.send_body(b"%d" % self.count)
        self.end_response()


@pytest.fixture(params=STRATEGIES)
def counting(request: pytest.FixtureRequest, plugport_serve: Serve) -> Any:
    return lambda **options: plugport_serve(Counter, "tcp", request.param, **options)


def received(client: Any) -> bytes:
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


def test_silent_connection_is_closed(counting: Any) -> None:
    client = counting(header_timeout=0.1).connect()
    assert client.recv(100) == b""


def test_slow_head_is_answered_with_408(counting: Any) -> None:
    client = counting(header_timeout=0.3).connect()
    client.settimeout(0.02)
    began = time.monotonic()
    answer = b""
    for byte in GET[:-2] + b"X-Slow: " + b"a" * 10_000:
        try:
            client.sendall(bytes([byte]))
            answer += client.recv(1000)
        except TimeoutError:
            continue
        except OSError:
            break
        if answer:
            break
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < PATIENCE / 2


def test_slow_heads_do_not_delay_others(plugport_serve: Serve) -> None:
    served = plugport_serve(Counter, "tcp", "select", header_timeout=1.0)
    slow = [served.connect() for _ in range(200)]
    for client in slow:
        client.sendall(b"GET / HT")
    assert served.exchange(GET).endswith(b"0\r\n\r\n")
    for client in slow:
        assert received(client).startswith(b"HTTP/1.1 408 ")


def test_body_that_pauses_is_answered_with_408(counting: Any) -> None:
    client = counting(body_timeout=0.1).connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    assert received(client).startswith(b"HTTP/1.1 408 ")


def test_connection_without_requests_is_closed(counting: Any) -> None:
    client = counting(keep_alive_timeout=0.1).connect()
    client.sendall(GET)
    answer = received(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_last_request_has_connection_close(counting: Any) -> None:
    answer = counting(max_requests=2).exchange(GET * 5)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.count(b"connection: close") == 1


@pytest.mark.parametrize(
    ("request_", "kept"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET /ignore HTTP/1.0\r\n\r\n", False),
        (b"GET /ignore HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
        # Without chunks its end is that of the connection.
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_persistence_of_connection(counting: Any, request_: bytes, kept: bool) -> None:
    answer = counting().exchange(request_ + GET)
    assert answer.count(b"HTTP/1.1 200") == 1 + kept
    if b"1.0" in request_ and kept:
        assert b"connection: keep-alive\r\n" in answer


def test_unread_short_body_is_skipped(counting: Any) -> None:
    post = b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    answer = counting().exchange(post + GET)
    assert answer.count(b"HTTP/1.1 200") == 2


@pytest.mark.tools("curl")
def test_long_unread_body_closes_connection(counting: Any, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(5_000_000))
    served = counting()
    url = f"http://127.0.0.1:{served.address[1]}/ignore"
    for body in ("--data-binary", f"@{upload}"), ("-H", "Transfer-Encoding: chunked", "-T", str(upload)):
        done = subprocess.run(
            ["curl", "-sS", "-m", "20", "--http1.1", "-H", "Expect:", *body, url], capture_output=True
        )
        # The answer is not lost although the client was still sending.
        assert done.stdout == b"ignored", done.stderr


@pytest.mark.tools("curl")
def test_too_long_body_is_answered_with_413(counting: Any, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(5_000_000))
    url = f"http://127.0.0.1:{counting(max_body_size=1000).address[1]}/"
    for body in ("--data-binary", f"@{upload}"), ("-H", "Transfer-Encoding: chunked", "-T", str(upload)):
        done = subprocess.run(
            ["curl", "-sS", "-m", "20", "--http1.1", "-w", "%{http_code}", "-H", "Expect:", *body, url],
            capture_output=True,
        )
        assert done.stdout.endswith(b"413"), done.stderr


def test_100_continue_is_sent(counting: Any) -> None:
    client = counting().connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"hello")
    assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_response_without_100_continue_is_sent(counting: Any) -> None:
    client = counting().connect()
    client.sendall(b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    answer = received(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close\r\n" in answer


def test_exception_of_handler_is_answered_with_500(counting: Any, caplog: Any) -> None:
    served = counting()
    assert served.exchange(b"GET /fail HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 500 ")
    context = served.wait_for_event("request_finished")["context"]
    assert context.outcome == "failed"
    assert served.exchange(GET).startswith(b"HTTP/1.1 200 ")


def test_malformed_request_is_answered_and_nothing_after_it(counting: Any) -> None:
    answer = counting().exchange(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + GET)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert b"content-length: %d" % len(body) in head
    assert body == b"400 Bad Request: host is repeated\n"


def test_read_ahead_of_pipelined_requests_is_limited(counting: Any) -> None:
    served = counting()
    count = 20_000
    answer = served.exchange(GET.replace(b"/", b"/ignore", 1) * count)
    assert answer.count(b"ignored") == count


@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_either_parser_serves(plugport_serve: Serve, parser: str) -> None:
    served = plugport_serve(Counter, "tcp", "select", parser=parser)
    post = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    answer = served.exchange(post + GET)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert b"\r\n\r\n1\r\n5\r\n0\r\n\r\n" in answer


def test_missing_parser_is_option_error(plugport_serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httptools", None)
    with pytest.raises(OptionError, match=r"parser: httptools can't be imported .*parser=h11"):
        plugport_serve(Counter, parser="httptools")
    assert plugport_serve(Counter, parser="auto").exchange(GET).startswith(b"HTTP/1.1 200 ")


class Large(HTTPProtocol):
    """Answers with a large body, without reading the request's."""

    def request_received(self, request: Request) -> None:
        self.send_response(ResponseHead(200, [(b"content-length", b"40000000")]), bytes(40_000_000))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_slow_client_gets_whole_response(plugport_serve: Serve, strategy: str) -> None:
    served = plugport_serve(Large, "tcp", strategy)
    client = served.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
    count = 0
    began = time.monotonic()
    while piece := client.recv(1_000_000):
        count += len(piece)
        if time.monotonic() - began < 2.5:  # longer than it would linger for one that takes nothing
            time.sleep(0.4)
    assert count > 40_000_000


def test_each_timeout_is_exact() -> None:
    options: Any = {"header_timeout": 10.0, "body_timeout": 20.0, "keep_alive_timeout": 30.0}
    with MemoryConnection(Counter, **options) as connection:
        assert connection.advance(9.9) == b""
        assert connection.feed(GET).startswith(b"HTTP/1.1 200 ")
        assert connection.advance(29.9) == b""
        assert connection.feed(GET[:5]) == b""
        assert connection.advance(9.9) == b""
        assert connection.feed(GET[5:]).startswith(b"HTTP/1.1 200 ")
        assert connection.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc") == b""
        assert connection.advance(19.9) == b""
        assert connection.feed(b"def") == b""
        assert connection.advance(19.9) == b""
        assert connection.advance(0.2).startswith(b"HTTP/1.1 408 ")
    with MemoryConnection(Counter, **options) as connection:
        connection.feed(GET)
        assert not connection.closed
        connection.advance(30.1)
        assert connection.closed
