"""ASGI HTTP: the scope, the body, the response, disconnects, and errors of applications."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from typing import Any

import pytest
import uvloop
from plugport import resolve_target
from plugport.combination import check
from served import APPLICATIONS, Client, eventually, raw, receive_all, receive_until

CASES = APPLICATIONS / "asgi_cases.py"
APP = f"{CASES}:app"
STRATEGIES = ("asyncio", "sync")
URLS = {"tcp": "tcp://127.0.0.1:0", "unix": "unix://{folder}/socket"}
LOOPS = (None, "uvloop:new_event_loop")


def application_globals() -> Any:
    """Return the globals of the application's module, which runs in this process."""
    return resolve_target(APP).__globals__


@pytest.fixture
def events() -> list[Any]:
    noted: list[Any] = application_globals()["events"]
    noted.clear()
    return noted


@pytest.fixture
def serve(plugport_serve: Any, events: list[Any]) -> Any:
    """serve(strategy, **options): the application, served."""

    def serve(strategy: str = "asyncio", url: str = "tcp", **options: Any) -> Any:
        return plugport_serve("asgi", URLS[url], strategy, app=APP, **options)

    return serve


@pytest.mark.parametrize("url", ["tcp", "unix"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_requests_of_all_kinds_on_one_connection(serve: Any, strategy: str, url: str) -> None:
    served = serve(strategy, url)
    with served.connect() as sock:
        client = Client(sock)
        for _ in range(2):
            assert client.ask("GET", "/hello")[::2] == (200, b"Hello, world!")
            assert client.ask("GET", "/stream")[::2] == (200, b"one two three")
            assert client.ask("HEAD", "/hello")[::2] == (200, b"")
            assert client.ask("HEAD", "/stream")[::2] == (200, b"")
            assert client.ask("GET", "/nothing")[::2] == (204, b"")
            assert client.ask("POST", "/echo", b"body")[2] == b"body"
            chunks = iter([b"chunk", b"ed ", b"body"])
            assert client.ask("POST", "/echo", chunks, encode_chunked=True)[2] == b"chunked body"
            assert client.ask("POST", "/echo")[2] == b""
            assert client.ask("GET", "/big")[2] == b"x" * 64 * 65536
            assert client.ask("POST", "/collect", b"x" * 1_000_000)[2].startswith(b"1000000 ")
            assert client.ask("POST", "/ignore", b"x" * 1000)[0] == 413
    with served.connect() as sock:  # the response begins before the end of the body
        assert Client(sock).ask("POST", "/echo", b"body" * 50000)[2] == b"body" * 50000


@pytest.fixture(scope="module", autouse=True)
def _signals_of_libuv() -> None:
    """Make libuv open its pipe for the process before a test checks for leaks."""
    uvloop.new_event_loop().close()


@pytest.mark.parametrize("loop", LOOPS)
def test_both_event_loops_serve(serve: Any, loop: str | None) -> None:
    served = serve(loop_factory=loop)
    with served.connect() as sock:
        client = Client(sock)
        assert client.ask("GET", "/hello")[2] == b"Hello, world!"
        assert client.ask("POST", "/collect", b"body" * 500_000)[2].startswith(b"2000000 ")
    with served.connect() as sock, pytest.raises(ConnectionResetError):
        raw(sock, b"GET /fail_late HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_scope_conforms_to_specification(serve: Any, strategy: str) -> None:
    served = serve(strategy)
    host, port = served.address
    with served.connect() as sock:
        client = Client(sock)
        name = sock.getsockname()
        _, _, content = client.ask("GET", "/describe/caf%C3%A9%20x?a=%41&b", headers={"X-A": "caf\xe9"})
        scope = json.loads(content)
        again = json.loads(client.ask("GET", "/describe")[2])
    assert scope["path"] == "/describe/café x"
    assert scope["raw_path"] == "/describe/caf%C3%A9%20x"
    assert scope["query_string"] == "a=%41&b"
    assert scope["method"] == "GET"
    assert scope["scheme"] == "http"
    assert scope["http_version"] == "1.1"
    assert scope["client"] == list(name)
    assert scope["server"] == [host, port]
    assert ["x-a", "caf\xe9"] in scope["headers"]
    assert scope["state"] == again["state"] == {"started": "yes"}


def test_unix_socket_is_server_without_client(serve: Any) -> None:
    served = serve(url="unix")
    with served.connect() as sock:
        scope = json.loads(Client(sock).ask("GET", "/describe")[2])
    assert scope["client"] is None
    assert scope["server"] == [served.address, None]


@pytest.mark.parametrize("target", ["/shop/describe", "/describe"])
def test_application_can_be_mounted(plugport_serve: Any, target: str) -> None:
    module = f"{APPLICATIONS / 'asgi_mounted.py'}:app"
    served = plugport_serve("asgi", concurrency="asyncio", app=module, root_path="/shop")
    with served.connect() as sock:
        scope = json.loads(Client(sock).ask("GET", target)[2])
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == (
        "/shop",
        "/shop/describe",
        "/shop/describe",
    )


# The body -----------------------------------------------------------------------------------------


def test_100_continue_is_sent_when_body_is_requested(serve: Any) -> None:
    served = serve()
    head = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    sock = served.connect()
    sock.sendall(head % b"collect")
    assert receive_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(b"body")
    assert receive_until(sock, b"\r\n\r\n4 ").startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw(served.connect(), head % b"ignore").startswith(b"HTTP/1.1 413 ")


def test_unread_body_does_not_fill_memory(serve: Any) -> None:
    served = serve()
    sock = served.connect()
    sock.sendall(b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
    sock.settimeout(1.0)
    sent = 0
    with suppress(TimeoutError):
        while sent < 100_000_000:
            sent += sock.send(b"x" * 65536)
    assert sent < 30_000_000  # what the buffers of the system take
    served.server.abort_requests()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_long_unread_body_closes_connection_after_response(serve: Any, strategy: str) -> None:
    served = serve(strategy)
    with served.connect() as sock:
        assert Client(sock).ask("POST", "/ignore", b"x" * 4_000_000)[::2] == (413, b"not interested")


def test_malformed_body_is_answered_with_400(serve: Any, events: list[Any]) -> None:
    served = serve()
    head = b"POST /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert raw(served.connect(), head + b"4\r\nbody\r\nxyz\r\n").startswith(b"HTTP/1.1 400 ")
    sock = served.connect()
    sock.sendall(head + b"4\r\nbo")
    sock.shutdown(socket.SHUT_WR)
    assert receive_all(sock).startswith(b"HTTP/1.1 400 ")
    eventually(lambda: events.count("disconnected") == 2)


def test_missing_body_times_out(serve: Any, events: list[Any]) -> None:
    served = serve(body_timeout=0.2)
    answer = raw(served.connect(), b"POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo")
    assert answer.startswith(b"HTTP/1.1 408 ")
    eventually(lambda: "disconnected" in events)


# The response -------------------------------------------------------------------------------------


def test_known_length_is_sent(serve: Any) -> None:
    with serve().connect() as sock:
        client = Client(sock)
        assert client.ask("GET", "/hello")[1]["content-length"] == "13"
        assert client.ask("HEAD", "/hello")[1]["content-length"] == "13"
        assert "content-length" not in client.ask("GET", "/nothing")[1]
        header = client.ask("GET", "/stream")[1]
        assert header["transfer-encoding"] == "chunked"
        assert "content-length" not in header


def test_head_response_has_no_wrong_length(serve: Any) -> None:
    with serve().connect() as sock:
        client = Client(sock)
        assert client.ask("HEAD", "/headless")[1].keys().isdisjoint({"content-length", "transfer-encoding"})
        assert client.ask("HEAD", "/hello")[1]["content-length"] == "13"
        assert client.ask("GET", "/headless")[1]["content-length"] == "0"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_pipelined_requests_are_answered_in_order(serve: Any, strategy: str) -> None:
    paths = [b"/hello", b"/stream", b"/collect"] * 10
    requests = b"".join(
        b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody" % path for path in paths
    )
    last = b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = raw(serve(strategy).connect(), requests + last)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 31
    found = re.findall(rb"Hello, world!|one |\n4 2", answer)
    assert found == [b"Hello, world!", b"one ", b"\n4 2"] * 10 + [b"Hello, world!"]


def test_http_1_0_body_ends_with_connection(serve: Any) -> None:
    head, _, body = raw(serve().connect(), b"GET /stream HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert body == b"one two three"
    assert b"chunked" not in head


def test_half_closed_client_gets_its_response(serve: Any) -> None:
    sock = serve().connect()
    sock.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
    sock.shutdown(socket.SHUT_WR)
    assert receive_all(sock).endswith(b"x" * 1000)


@pytest.mark.parametrize("body", [b"0\r\n\r\n", b"4\r\nbody\r\n0\r\n\r\n", b"4\r\nbody\r\n"])
def test_body_can_be_read_after_client_half_closes(serve: Any, events: list[Any], body: bytes) -> None:
    served = serve()
    sock = served.connect()
    sock.sendall(b"POST /late HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    sock.shutdown(socket.SHUT_WR)
    eventually(lambda: "late" in events)
    with served.connect() as other:  # so that the end has been seen
        assert Client(other).ask("GET", "/hello")[0] == 200
    loop_of(served).call_soon_threadsafe(application_globals()["gates"]["go"].set)
    answer = receive_all(sock)
    assert answer.endswith(b"\r\n\r\n%d" % (4 * body.count(b"body")) if b"0" in body else b"incomplete\n")


# Disconnects --------------------------------------------------------------------------------------


def test_receive_returns_disconnect(serve: Any, events: list[Any]) -> None:
    served = serve()
    with served.connect() as sock:
        sock.sendall(b"GET /poll HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: "polling" in events)
    eventually(lambda: "http.disconnect" in events)


def test_send_after_disconnect_raises_oserror(serve: Any, events: list[Any], caplog: Any) -> None:
    served = serve()
    with served.connect() as sock:
        sock.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        receive_until(sock, b"xxx")
    eventually(lambda: "ClientDisconnectedError" in events)
    served.wait_for_event("request_finished")
    assert "failed" not in caplog.text


def test_application_can_continue_after_response(serve: Any, events: list[Any]) -> None:
    served = serve()
    with served.connect() as sock:
        client = Client(sock)
        assert client.ask("GET", "/after")[2] == b"done"
        assert client.ask("GET", "/hello")[2] == b"Hello, world!"
    assert events == ["startup", "http.disconnect"]
    served.service.stop()
    served.wait_for_event("server_draining")
    loop_of(served).call_soon_threadsafe(application_globals()["gates"]["go"].set)
    served.join()
    assert events == ["startup", "http.disconnect", "after", "shutdown"]


def loop_of(served: Any) -> Any:
    return served.server.serving_loop._loop


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_disconnect_does_not_affect_other_clients(serve: Any, strategy: str) -> None:
    served = serve(strategy)
    for request in (
        b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nnot all",
        b"GET /hel",
    ):
        with served.connect() as sock:
            sock.sendall(request)
    served.wait_for_event("request_finished", count=3)
    with served.connect() as sock:
        assert Client(sock).ask("GET", "/hello")[2] == b"Hello, world!"


def test_drain_finishes_requests_and_closes_idle_connections(serve: Any, events: list[Any]) -> None:
    served = serve()
    waiting, idle = served.connect(), served.connect()
    assert Client(idle).ask("GET", "/hello")[0] == 200
    waiting.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    receive_until(waiting, b"waiting ")
    loop = loop_of(served)
    served.service.stop()
    assert idle.recv(1) == b""
    assert events == ["startup"]
    loop.call_soon_threadsafe(application_globals()["gates"]["go"].set)
    assert receive_all(waiting).endswith(b"0\r\n\r\n")
    served.join()
    assert events == ["startup", "shutdown"]


def test_endless_request_is_aborted_after_grace(serve: Any, events: list[Any]) -> None:
    served = serve()
    sock = served.connect()
    sock.sendall(b"GET /stubborn HTTP/1.1\r\nHost: a\r\n\r\n")
    receive_until(sock, b"for ever ")
    served.service.grace = 0.1
    served.service.stop()
    with suppress(ConnectionResetError):
        assert not receive_all(sock)
    served.join()
    assert events == ["startup", "cancelled", "shutdown"]


# What goes wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "path", ["/fail", "/silent", "/short", "/long", "/crlf", "/disorder", "/unknown", "/none"]
)
def test_failure_before_response_is_answered_with_500(
    serve: Any, strategy: str, path: str, caplog: Any
) -> None:
    with serve(strategy).connect() as sock:
        status, _, body = Client(sock).ask("GET", path)
    assert status == 500
    assert b"purpose" not in body
    assert f"GET {path}" in caplog.text


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("path", [b"fail_late", b"unfinished"])
def test_failure_after_head_resets_connection(serve: Any, strategy: str, path: bytes) -> None:
    served = serve(strategy)
    received = b""
    with suppress(ConnectionResetError):
        received = raw(served.connect(), b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    assert not received.endswith(b"0\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        raw(served.connect(), b"GET /%b HTTP/1.0\r\n\r\n" % path)


def test_asgi_is_refused_under_illegal_strategies() -> None:
    for strategy, reason in {
        "forking": "a copy of its own",
        "threading": "at the same time",
        "thread-pool": "at the same time",
        "select": "needs an event loop",
    }.items():
        verdict = check("asgi", "tcp", strategy)
        assert not verdict.legal
        assert reason in verdict.reason
    assert check("asgi", "tcp", "asyncio").legal
    assert check("asgi", "unix", "sync").legal
    assert not check("asgi", "udp", "asyncio").legal
