"""WSGI (PEP 3333): the environ, the body, the response, and errors of applications."""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from served import APPLICATIONS, Client, raw, receive_all, receive_until, wsgi_cases

APP = f"{APPLICATIONS / 'wsgi_cases.py'}:app"
VALIDATED = f"{APPLICATIONS / 'wsgi_cases.py'}:validated"
STRATEGIES = ("sync", "threading", "thread-pool", "forking", "select", "asyncio")
#: Those whose requests run in this process, so that a test can look into it.
INSIDE = ("threading", "select")
URLS = {"tcp": "tcp://127.0.0.1:0", "unix": "unix://{folder}/socket"}


@pytest.fixture
def ask(plugport_serve: Any) -> Callable[..., Any]:
    """ask(strategy, method, target, …) asks a server of its own, once for each strategy."""
    served: dict[str, Any] = {}

    def ask(strategy: str, *arguments: Any, app: str = VALIDATED, url: str = "tcp", **more: Any) -> Any:
        key = f"{strategy} {app} {url}"
        if key not in served:
            served[key] = plugport_serve("wsgi", URLS[url], strategy, app=app)
        with served[key].connect() as sock:
            return Client(sock).ask(*arguments, **more)

    return ask


@pytest.mark.parametrize("url", ["tcp", "unix"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_conforms_to_wsgiref_validator(plugport_serve: Any, strategy: str, url: str) -> None:
    served = plugport_serve("wsgi", URLS[url], strategy, app=VALIDATED)
    with served.connect() as sock:
        client = Client(sock)
        for _ in range(2):  # on one connection
            assert client.ask("GET", "/hello")[::2] == (200, b"Hello, world!")
            assert client.ask("GET", "/two")[::2] == (200, b"Hello, world!")
            assert client.ask("GET", "/generate")[::2] == (200, b"one two three")
            assert client.ask("GET", "/write")[::2] == (200, b"written and returned")
            assert client.ask("GET", "/nothing")[::2] == (204, b"")
            assert client.ask("GET", "/unchanged")[::2] == (304, b"")
            assert client.ask("GET", "/empty")[::2] == (200, b"")
            assert client.ask("HEAD", "/hello")[::2] == (200, b"")
            assert client.ask("POST", "/echo", b"body" * 50000)[2] == b"body" * 50000
            chunks = iter([b"chunk", b"ed body"])
            assert client.ask("POST", "/echo", chunks, encode_chunked=True)[2] == b"chunked body"
            assert client.ask("GET", "/big")[2] == b"x" * 64 * 65536
        _, _, content = client.ask("GET", "/describe")
        environ = json.loads(content)
        threads = {"threading", "thread-pool", "asyncio"}
        assert environ["wsgi.multithread"] is (strategy in threads)
        assert environ["wsgi.multiprocess"] is (strategy == "forking")
        assert environ["wsgi.run_once"] is False


def test_environ_has_variables_of_pep_3333(ask: Any) -> None:
    status, _, content = ask(
        "threading",
        "GET",
        "/caf%C3%A9/a%20b?x=%41&y",
        headers={
            "X-One": "a",
            "X-Name": "caf\xe9",
            "X_Under": "dropped",
            "Proxy": "dropped",
            "Host": "h.example",
        },
    )
    assert status == 200
    environ = json.loads(content)
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["SCRIPT_NAME"] == ""
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/café/a b"
    assert environ["QUERY_STRING"] == "x=%41&y"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["SERVER_NAME"] == "127.0.0.1"
    assert environ["SERVER_PORT"].isdigit()
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["REMOTE_PORT"].isdigit()
    assert environ["HTTP_HOST"] == "h.example"
    assert environ["HTTP_X_NAME"] == "caf\xe9"
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.version"] == [1, 0]
    assert environ["wsgi.input_terminated"] is True
    assert not {"CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_X_UNDER", "HTTP_PROXY"} & environ.keys()


def test_repeated_fields_are_joined(plugport_serve: Any) -> None:
    served = plugport_serve("wsgi", app=APP)
    head = b"POST /describe HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nCookie: a=1\r\nx-a: 2\r\nCookie: b=2\r\n"
    more = b"Content-Type: text/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    answer = raw(served.connect(), head + more)
    environ = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert environ["HTTP_X_A"] == "1, 2"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["CONTENT_TYPE"] == "text/x"
    assert environ["CONTENT_LENGTH"] == "0"
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & environ.keys()


def test_unix_socket_has_server_name_and_port(ask: Any) -> None:
    environ = json.loads(ask("threading", "GET", "/", url="unix")[2])
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"], environ["REMOTE_ADDR"]) == ("localhost", "80", "")


@pytest.mark.parametrize(
    ("target", "path"),
    [("/shop/cart", "/cart"), ("/shop", ""), ("/cart", "/cart"), ("/shopping", "/shopping")],
)
def test_application_can_be_mounted(plugport_serve: Any, target: str, path: str) -> None:
    served = plugport_serve("wsgi", app=VALIDATED, script_name="/shop")
    with served.connect() as sock:
        content = Client(sock).ask("GET", target)[2]
    environ = json.loads(content)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/shop", path)


def test_options_asterisk_has_empty_path(plugport_serve: Any) -> None:
    served = plugport_serve("wsgi", app=APP)
    answer = raw(served.connect(), b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["PATH_INFO"] == ""


# The body -----------------------------------------------------------------------------------------


def test_body_is_read_by_lines(ask: Any) -> None:
    content = ask("select", "POST", "/lines", b"first\nsecond\nthird\nlast")[2]
    assert json.loads(content) == ["first\n", "seco", "nd\n", "third\n", "last"]


@pytest.mark.parametrize("strategy", ["threading", "select"])
def test_100_continue_is_sent_when_body_is_read(plugport_serve: Any, strategy: str) -> None:
    served = plugport_serve("wsgi", concurrency=strategy, app=VALIDATED)
    head = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    sock = served.connect()
    sock.sendall(head % b"echo")
    assert receive_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(b"body")
    assert receive_until(sock, b"body").startswith(b"HTTP/1.1 200 OK\r\n")
    sock = served.connect()
    answer = raw(sock, head % b"ignore")  # closes, because the client may send the body or not
    assert answer.startswith(b"HTTP/1.1 413 Too Large\r\n")


@pytest.mark.parametrize("strategy", ["threading", "select", "forking"])
def test_unread_body_is_dropped(plugport_serve: Any, strategy: str) -> None:
    served = plugport_serve("wsgi", concurrency=strategy, app=VALIDATED)
    with served.connect() as sock:
        client = Client(sock)
        assert client.ask("POST", "/ignore", b"x" * 1000)[0] == 413
        assert client.ask("GET", "/hello")[2] == b"Hello, world!"
        # So large a one is not; and the client is given the time to see the answer.
        assert client.ask("POST", "/ignore", b"x" * 4_000_000)[::2] == (413, b"not interested")


def test_malformed_body_is_answered_with_400(plugport_serve: Any) -> None:
    served = plugport_serve("wsgi", app=VALIDATED)
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert raw(served.connect(), head + b"4\r\nbody\r\nxyz\r\n").startswith(b"HTTP/1.1 400 ")
    sock = served.connect()
    sock.sendall(head + b"4\r\nbo")
    sock.shutdown(socket.SHUT_WR)
    assert receive_all(sock).startswith(b"HTTP/1.1 400 ")


def test_missing_body_times_out(plugport_serve: Any) -> None:
    for strategy in ("threading", "select"):
        served = plugport_serve("wsgi", concurrency=strategy, app=VALIDATED, body_timeout=0.2)
        answer = raw(served.connect(), b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo")
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_silent_clients_are_disconnected(plugport_serve: Any, strategy: str) -> None:
    served = plugport_serve("wsgi", concurrency=strategy, app=APP, header_timeout=0.3, keep_alive_timeout=0.2)
    assert raw(served.connect()) == b""
    assert raw(served.connect(), b"GET / HT").startswith(b"HTTP/1.1 408 ")
    answer = raw(served.connect(), b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.endswith(b"Hello, world!")


# The response -------------------------------------------------------------------------------------


def test_known_length_is_sent(ask: Any) -> None:
    assert ask("select", "GET", "/hello", app=APP)[1]["content-length"] == "13"
    assert ask("select", "GET", "/two", app=APP)[1]["content-length"] == "13"
    assert ask("select", "GET", "/empty", app=APP)[1]["content-length"] == "0"
    assert ask("select", "HEAD", "/hello", app=APP)[1]["content-length"] == "13"
    assert "content-length" not in ask("select", "GET", "/nothing", app=APP)[1]
    header = ask("select", "GET", "/generate", app=APP)[1]
    assert header["transfer-encoding"] == "chunked"
    assert "content-length" not in header


def test_http_1_0_body_ends_with_connection(plugport_serve: Any) -> None:
    served = plugport_serve("wsgi", app=APP)
    answer = raw(served.connect(), b"GET /generate HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"one two three"
    assert b"chunked" not in head
    kept = raw(
        served.connect(),
        b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /hello HTTP/1.0\r\n\r\n",
    )
    assert kept.count(b"Hello, world!") == 2


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_pipelined_requests_are_answered_in_order(plugport_serve: Any, strategy: str) -> None:
    served = plugport_serve("wsgi", concurrency=strategy, app=APP)
    paths = [b"/hello", b"/generate", b"/write", b"/two"] * 5
    requests = b"".join(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in paths)
    last = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlast"
    answer = raw(served.connect(), requests + last)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 21
    assert answer.endswith(b"last")
    assert (
        re.findall(rb"Hello, world!|one |written ", answer)
        == [b"Hello, world!", b"one ", b"written ", b"Hello, world!"] * 5
    )


@pytest.mark.parametrize("strategy", INSIDE)
def test_returned_iterable_is_closed(plugport_serve: Any, strategy: str) -> None:
    served = plugport_serve("wsgi", concurrency=strategy, app=APP)
    closed = wsgi_cases()["closed"]
    closed.clear()
    with served.connect() as sock:
        client = Client(sock)
        client.ask("GET", "/close?one")
        client.ask("HEAD", "/close?two")
    with suppress(ConnectionResetError):
        raw(served.connect(), b"GET /fail_late?three HTTP/1.1\r\nHost: a\r\n\r\n")
    assert closed == ["one", "two", "three"]


@pytest.mark.parametrize("strategy", ["threading", "select", "forking", "asyncio"])
@pytest.mark.parametrize("size", [2560, 1_000_192])
def test_files_are_sent(plugport_serve: Any, strategy: str, size: int) -> None:
    served = plugport_serve("wsgi", concurrency=strategy, app=APP)
    content = bytes(range(256)) * (size // 256)
    with served.connect() as sock:
        client = Client(sock)
        assert client.ask("GET", f"/file?{size}")[2] == content
        assert client.ask("GET", f"/file?{size}", headers={"X-No-Length": "1"})[2] == content
        assert client.ask("HEAD", f"/file?{size}")[1]["content-length"] == str(size)
        assert client.ask("GET", "/hello")[2] == b"Hello, world!"


def test_files_are_sent_by_sendfile(plugport_serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    send_file = socket.socket.sendfile

    def noted(self: socket.socket, *arguments: Any) -> int:
        calls.append(arguments[1:])
        return send_file(self, *arguments)

    monkeypatch.setattr(socket.socket, "sendfile", noted)
    served = plugport_serve("wsgi", concurrency="threading", app=APP)
    with served.connect() as sock:
        assert len(Client(sock).ask("GET", "/file?100096")[2]) == 100096
    assert calls == [(7, 100096)]


# What goes wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("path", ["/fail", "/twice", "/long_whole", "/text", "/crlf"])
def test_failure_before_response_is_answered_with_500(ask: Any, strategy: str, path: str) -> None:
    status, _, body = ask(strategy, "GET", path, app=APP)
    assert status == 500
    assert b"purpose" not in body
    assert ask(strategy, "GET", "/hello", app=APP)[2] == b"Hello, world!"


def test_failure_is_logged(plugport_serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    served = plugport_serve("wsgi", app=APP)
    with served.connect() as sock:
        Client(sock).ask("GET", "/fail?x")
    assert "GET /fail failed" in caplog.text
    assert "ValueError: failed on purpose" in caplog.text


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("path", [b"fail_late", b"short", b"long", b"recover_late"])
def test_failure_after_head_resets_connection(plugport_serve: Any, strategy: str, path: bytes) -> None:
    served = plugport_serve("wsgi", concurrency=strategy, app=APP)
    sock = served.connect()
    received = b""
    with suppress(ConnectionResetError):
        received = raw(sock, b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    assert not received.endswith(b"0\r\n\r\n")
    assert b"never sent" not in received
    # One whose end is the connection's would look whole, if it ended like others.
    sock = served.connect()
    with pytest.raises(ConnectionResetError):
        raw(sock, b"GET /fail_late HTTP/1.0\r\n\r\n")


def test_error_before_response_can_replace_it(ask: Any) -> None:
    assert ask("select", "GET", "/recover", app=APP)[::2] == (503, b"sorry")


def test_wsgi_errors_is_logged(ask: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert ask("threading", "GET", "/log")[2] == b"logged"
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert logged == ["the first line", "the second line", "the third"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_stored_input_does_not_read_body_of_another_request(plugport_serve: Any, strategy: str) -> None:
    served = plugport_serve("wsgi", concurrency=strategy, app=APP)
    with served.connect() as sock:
        client = Client(sock)
        for _ in range(2):
            assert client.ask("POST", "/keep", b"first")[2] == b"kept"
            assert client.ask("POST", "/kept_first", b"second")[2] == b" and second"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_disconnect_does_not_affect_other_clients(plugport_serve: Any, strategy: str) -> None:
    served = plugport_serve("wsgi", concurrency=strategy, app=APP)
    for request in (
        b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nnot all",
        b"GET /hel",
    ):
        with served.connect() as sock:
            sock.sendall(request)
    served.wait_for_event("request_finished", count=3)
    with served.connect() as sock:
        assert Client(sock).ask("GET", "/hello")[2] == b"Hello, world!"


def test_head_response_has_no_wrong_length(plugport_serve: Any) -> None:
    served = plugport_serve("wsgi", concurrency="threading", app=APP)
    with served.connect() as sock:
        client = Client(sock)
        assert client.ask("HEAD", "/headless")[1].keys().isdisjoint({"content-length", "transfer-encoding"})
        assert client.ask("HEAD", "/hello")[1]["content-length"] == "13"
        assert client.ask("GET", "/headless")[1]["content-length"] == "0"
