"""WSGI in a loop: requests that need not wait are answered by a protocol, and the others by a greenlet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from greenlet import getcurrent
from plugport.testing.memory import MemoryConnection
from served import APPLICATIONS, Client, raw, receive_until

from plugport_http.wsgi.handler import WSGIHandler

APP = f"{APPLICATIONS / 'wsgi_cases.py'}:app"
GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
TEXT = [("Content-Type", "text/plain")]
PIECE = b"x" * 65536
#: Bytes that may rest in the buffers of the system and of the transport.
BUFFERED = 16 * 2**20


def serving(application: Callable[..., Any]) -> type[WSGIHandler]:
    """A handler of *application*, which is given as it is."""
    return type("Serving", (WSGIHandler,), {"application": staticmethod(application)})


class Streaming:
    """Applications whose responses do not end, and what has come of them."""

    def __init__(self) -> None:
        self.produced = 0
        self.closed = 0

    def generate(self, environ: Any, start_response: Any) -> Any:
        """Return pieces without an end."""
        start_response("200 OK", TEXT)
        return self

    def write(self, environ: Any, start_response: Any) -> list[bytes]:
        """Write as many pieces as the query says."""
        send = start_response("200 OK", TEXT)
        for piece, _ in zip(self, range(int(environ["QUERY_STRING"])), strict=False):
            send(piece)
        return []

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.produced += len(PIECE)
            yield PIECE

    def close(self) -> None:
        """Count it."""
        self.closed += 1


def test_a_request_without_a_body_is_answered_in_the_loop_and_one_with_a_body_in_a_greenlet(
    plugport_serve: Any,
) -> None:
    callers: list[Any] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        callers.append(getcurrent())
        start_response("200 OK", TEXT)
        return [environ["wsgi.input"].read() or b"none"]

    served = plugport_serve(serving(application), concurrency="select")
    with served.connect() as sock, served.connect() as other:
        client = Client(sock)
        assert client.ask("GET", "/")[2] == b"none"
        assert client.ask("GET", "/")[2] == b"none"
        assert client.ask("POST", "/", b"body")[2] == b"body"
        assert client.ask("GET", "/")[2] == b"none"
        assert Client(other).ask("GET", "/")[2] == b"none"
    loop = callers[0]
    assert [caller is loop for caller in callers] == [True, True, False, False, True]


def test_requests_that_come_at_once_keep_their_order_where_one_of_them_waits(plugport_serve: Any) -> None:
    served = plugport_serve("wsgi", concurrency="select", app=APP)
    pieces = [GET % b"/hello", POST % b"/echo", b"one.", GET % b"/generate", GET % b"/hello", POST % b"/echo"]
    with served.connect() as sock:
        sock.sendall(b"".join(pieces))
        answer = receive_until(sock, b"three\r\n0\r\n\r\n")
        sock.sendall(b"two.")
        answer += receive_until(sock, b"two.")
    for word in (b"Hello", b"one.", b"three", b"Hello", b"two."):
        before, found, answer = answer.partition(word)
        assert found, before
    assert answer == b""


def test_one_byte_after_the_other(plugport_serve: Any) -> None:
    served = plugport_serve("wsgi", concurrency="select", app=APP)
    with served.connect() as sock:
        for byte in GET % b"/hello" + POST % b"/echo" + b"body" + GET % b"/generate":
            sock.sendall(bytes([byte]))
        assert receive_until(sock, b"three\r\n0\r\n\r\n").count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize("path", [b"/", b"/?100000"], ids=["generate", "write"])
def test_a_client_that_takes_nothing_holds_up_nobody_and_fills_no_memory(
    plugport_serve: Any, path: bytes
) -> None:
    streaming = Streaming()
    application = streaming.generate if path == b"/" else streaming.write
    served = plugport_serve(serving(application), concurrency="select")
    if path != b"/":
        with served.connect() as sock:  # from now on it is known to use write()
            raw(sock, b"GET /?1 HTTP/1.0\r\n\r\n")
    slow = served.connect()
    slow.sendall(GET % path)
    for _ in range(3):
        with served.connect() as sock:
            sock.sendall(GET % path)
            receive_until(sock, PIECE[:1000])
    assert streaming.produced < 4 * BUFFERED
    slow.close()
    served.wait_for_event("request_finished", count=4)
    if path == b"/":
        assert streaming.closed == 4


def test_a_client_that_takes_all_at_once_holds_up_nobody(plugport_serve: Any) -> None:
    streaming = Streaming()
    served = plugport_serve(serving(streaming.generate), concurrency="select")
    with served.connect() as greedy, served.connect() as other:
        greedy.sendall(GET % b"/")
        receive_until(greedy, PIECE[:1000])
        other.sendall(GET % b"/")
        receive_until(other, PIECE[:1000])


def test_what_was_returned_is_closed_when_the_client_goes_before_it_is_sent() -> None:
    streaming = Streaming()
    connections: list[MemoryConnection] = []

    def application(environ: Any, start_response: Any) -> Any:
        connections[0].transport.abort()
        return streaming.generate(environ, start_response)

    connections.append(MemoryConnection(serving(application)))
    connections[0].feed(GET % b"/")
    assert (streaming.closed, streaming.produced) == (1, 0)
