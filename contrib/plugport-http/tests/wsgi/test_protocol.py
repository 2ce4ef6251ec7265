"""WSGIProtocol: one greenlet for all requests that do not wait, and others for those that do."""

from __future__ import annotations

import gc
import logging
import sys
import time
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from greenlet import getcurrent
from plugport import RequestContext
from plugport.serving import SwitchedProtocol
from plugport.transports import StreamTransport
from plugport_testing.memory import MemoryConnection
from served import APPLICATIONS, Client, raw, receive_until, serving

from plugport_http.engine import ServerConnection
from plugport_http.wsgi.handler import WSGIHandler
from plugport_http.wsgi.protocol import WSGIProtocol

APP = f"{APPLICATIONS / 'wsgi_cases.py'}:app"
GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
TEXT = [("Content-Type", "text/plain")]
PIECE = b"x" * 65536
#: Bytes that may rest in the buffers of the system and of the transport.
BUFFERED = 16 * 2**20


class Streaming:
    """Applications whose responses do not end, and the events that they record."""

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


def test_requests_that_do_not_wait_share_greenlet(plugport_serve: Any) -> None:
    callers: list[Any] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read()
        callers.append(getcurrent())
        start_response("200 OK", TEXT)
        return [body or b"none"]

    served = plugport_serve(serving(application), concurrency="select")
    with served.connect() as one, served.connect() as two, served.connect() as three:
        for _ in range(2):
            for sock in (one, two):
                assert Client(sock).ask("GET", "/")[2] == b"none"
        for sock in (one, two):
            sock.sendall(POST % b"/" + b"he")
        assert Client(three).ask("GET", "/")[2] == b"none"
        for sock in (one, two):
            sock.sendall(b"re")
            receive_until(sock, b"here")
    assert len(set(callers[:4])) == 1
    assert len(set(callers[4:])) == 3


def test_context_variables_belong_to_connection(plugport_serve: Any) -> None:
    name: ContextVar[str] = ContextVar("name", default="nobody")

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        seen = name.get()
        token = name.set(environ["QUERY_STRING"])
        start_response("200 OK", TEXT)

        def pieces() -> Iterator[bytes]:
            yield seen.encode() + b" "
            environ["wsgi.input"].read()
            yield name.get().encode()
            if environ["QUERY_STRING"] == "reset":
                name.reset(token)

        return pieces()

    served = plugport_serve(serving(application), concurrency="select")
    with served.connect() as sock, served.connect() as other:
        client, others = Client(sock), Client(other)
        assert client.ask("POST", "/?one", b"body")[2] == b"nobody one"
        assert others.ask("GET", "/?two")[2] == b"nobody two"
        assert client.ask("GET", "/?reset")[2] == b"one reset"
        assert client.ask("GET", "/?three")[2] == b"one three"


@pytest.mark.parametrize("when", ["call", "iteration"])
def test_system_exit_ends_its_connection_only(plugport_serve: Any, when: str) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        def pieces() -> Iterator[bytes]:
            yield b"begun"
            if environ["PATH_INFO"] == "/exit":
                sys.exit(3)

        if when == "call" and environ["PATH_INFO"] == "/exit":
            sys.exit(3)
        start_response("200 OK", TEXT)
        return pieces()

    served = plugport_serve(serving(application), concurrency="select")
    with served.connect() as sock, served.connect() as other:
        assert not raw(sock, GET % b"/exit").endswith(b"0\r\n\r\n")
        assert Client(other).ask("GET", "/")[2] == b"begun"
    outcomes = [served.wait_for_event("request_finished", count=count)["context"].outcome for count in (1, 2)]
    assert outcomes == ["aborted", "completed"]


def test_closed_connection_leaves_no_reference_cycle(
    plugport_serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("plugport.http.wsgi"), "disabled", True)  # pytest keeps it

    class Local:
        """What the application has at hand."""

    locals_of_failures: weakref.WeakSet[Any] = weakref.WeakSet()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        local = Local()
        locals_of_failures.add(local)
        environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/fail":
            raise ValueError("failed on purpose")
        start_response("200 OK", TEXT)
        return [b"answer"]

    served = plugport_serve(serving(application), concurrency="select")
    gc.collect()
    gc.disable()
    try:
        kinds = (StreamTransport, WSGIProtocol, ServerConnection, RequestContext, Local)
        for count, request in enumerate([GET % b"/", POST % b"/" + b"body", GET % b"/fail"] * 3, 1):
            with served.connect() as sock:
                sock.sendall(request)
                receive_until(sock, b"\r\n\r\n")
            served.wait_for_event("request_finished", count=count)
        served.events.clear()
        left = [type(one).__name__ for one in gc.get_objects() if isinstance(one, kinds)]
    finally:
        gc.enable()
    assert len(left) <= len(kinds)  # the last one's may be on their way
    assert len(locals_of_failures) <= 1


def test_pipelined_requests_keep_order_if_one_waits(plugport_serve: Any) -> None:
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


def test_body_in_single_bytes(plugport_serve: Any) -> None:
    served = plugport_serve("wsgi", concurrency="select", app=APP)
    with served.connect() as sock:
        for byte in GET % b"/hello" + POST % b"/echo" + b"body" + GET % b"/generate":
            sock.sendall(bytes([byte]))
        assert receive_until(sock, b"three\r\n0\r\n\r\n").count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize("path", [b"/", b"/?100000"], ids=["generate", "write"])
def test_client_that_does_not_read_costs_no_memory_and_delays_nobody(
    plugport_serve: Any, path: bytes
) -> None:
    streaming = Streaming()
    application = streaming.generate if path == b"/" else streaming.write
    served = plugport_serve(serving(application), concurrency="select")
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


def test_fast_client_does_not_delay_others(plugport_serve: Any) -> None:
    streaming = Streaming()
    served = plugport_serve(serving(streaming.generate), concurrency="select")
    with served.connect() as greedy, served.connect() as other:
        greedy.sendall(GET % b"/")
        receive_until(greedy, PIECE[:1000])
        other.sendall(GET % b"/")
        receive_until(other, PIECE[:1000])


def test_pipelined_requests_yield_to_other_connections(plugport_serve: Any) -> None:
    calls: list[str] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        time.sleep(0.002)
        calls.append(environ["PATH_INFO"])
        start_response("200 OK", TEXT)
        return [b"done"]

    served = plugport_serve(serving(application), concurrency="select")
    with served.connect() as greedy, served.connect() as other:
        assert Client(other).ask("GET", "/first")[2] == b"done"
        greedy.sendall(GET % b"/greedy" * 500)
        receive_until(greedy, b"done")
        assert Client(other).ask("GET", "/other")[2] == b"done"
        behind = len(calls) - calls.index("/greedy")
        assert behind < 100
        while len(calls) < 502:
            greedy.recv(65536)
    assert calls.count("/greedy") == 500


def test_client_that_does_not_read_large_response_is_disconnected(plugport_serve: Any) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        start_response("200 OK", TEXT)
        return [PIECE * 400]

    served = plugport_serve(serving(application), concurrency="select", send_timeout=0.3)
    for request in (GET % b"/", POST % b"/" + b"body"):
        sock = served.connect()
        sock.sendall(request)
    for count in (1, 2):
        served.wait_for_event("request_finished", count=count)


def test_shorter_idle_timeout_limits_other_timeouts(plugport_serve: Any) -> None:
    served = plugport_serve("wsgi", concurrency="select", app=APP, idle_timeout=0.3)
    with served.connect() as sock, served.connect() as slow:
        slow.sendall(b"GET / HT")
        assert Client(sock).ask("GET", "/hello")[0] == 200
        assert sock.recv(1) == b""
        assert slow.recv(65536).startswith(b"HTTP/1.1 408 ")
    outcomes = {served.wait_for_event("request_finished", count=count)["context"].outcome for count in (1, 2)}
    assert outcomes == {"completed"}


def test_overridden_handler_runs_in_greenlet(plugport_serve: Any) -> None:
    class Own(WSGIHandler):
        def setup(self) -> None:
            super().setup()
            self._environ_builder.errors.write("set up\n")

    served = plugport_serve(Own, concurrency="select", app=APP)
    assert isinstance(Own.as_protocol(RequestContext(served.server, None, None)), SwitchedProtocol)
    with served.connect() as sock:
        assert Client(sock).ask("GET", "/hello")[2] == b"Hello, world!"


def test_failure_after_disconnect_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    connections: list[MemoryConnection] = []

    def application(environ: Any, start_response: Any) -> Any:
        connections[0].transport.abort()
        raise ValueError("failed on purpose")

    connections.append(MemoryConnection(serving(application)))
    connections[0].feed(GET % b"/")
    assert "GET / failed" in caplog.text


def test_returned_iterable_is_closed_after_disconnect() -> None:
    streaming = Streaming()
    connections: list[MemoryConnection] = []

    def application(environ: Any, start_response: Any) -> Any:
        connections[0].transport.abort()
        return streaming.generate(environ, start_response)

    connections.append(MemoryConnection(serving(application)))
    connections[0].feed(GET % b"/")
    assert (streaming.closed, streaming.produced) == (1, len(PIECE))
