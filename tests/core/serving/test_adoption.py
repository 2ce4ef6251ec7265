"""Servers of the standard library, adopted: their requests have records, and they drain."""

from __future__ import annotations

import http.client
import http.server
import socketserver
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from composed import (
    LOCALHOST,
    STRATEGIES,
    Closing,
    Serve,
    compose,
    finished,
)
from patience import within
from recording import Recorder

from plugport.serving.adoption import adopt, is_foreign_server
from plugport_builtins.servers.tcp import TCPServer


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/broken":
            raise ValueError("broken")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *args: Any) -> None:
        pass


ADOPTED = [http.server.HTTPServer, http.server.ThreadingHTTPServer]


@pytest.fixture(params=ADOPTED, ids=lambda cls: cls.__name__)
def adopted(request: pytest.FixtureRequest, closing: Closing, recorder: Recorder) -> Any:
    """A server of a class of the standard library's."""
    server = closing(adopt(request.param)(LOCALHOST, Page))
    server.hooks = recorder.hooks
    return server


def get(server: Any, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_foreign_servers_are_told_apart() -> None:
    assert is_foreign_server(http.server.HTTPServer)
    assert not is_foreign_server(adopt(http.server.HTTPServer))
    assert not is_foreign_server(TCPServer)
    assert not is_foreign_server(dict)


def test_adopted_class_keeps_its_name_and_its_methods() -> None:
    adopted = adopt(http.server.HTTPServer)
    assert adopted.__name__ == "HTTPServer"
    assert issubclass(adopted, http.server.HTTPServer)
    assert adopted.server_bind is http.server.HTTPServer.server_bind


def test_adopted_server_has_accounts_of_its_requests(adopted: Any, serve: Serve, recorder: Recorder) -> None:
    serve(adopted)
    assert get(adopted, "/page") == b"/page"
    assert finished(recorder) == ["completed"]
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        get(adopted, "/broken")
    assert finished(recorder, 2) == ["completed", "failed"]
    assert recorder.requests == ["started", "finished", "started", "failed", "finished"]


def test_adopted_server_drains_and_wakes(adopted: Any, serve: Serve) -> None:
    call = serve(adopted, poll_interval=60)
    assert get(adopted, "/page") == b"/page"
    adopted.drain(60)
    call.result()
    assert adopted.fileno() == -1


def test_adopted_server_shuts_down_at_once(adopted: Any, serve: Serve) -> None:
    call = serve(adopted, poll_interval=60)
    assert get(adopted, "/page") == b"/page"
    within(10, adopted.shutdown)
    call.result()


def test_adopted_server_on_its_own_reports_to_stderr(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    server = adopt(http.server.HTTPServer)(LOCALHOST, Page)
    serve(server)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        get(server, "/broken")
    assert "ValueError: broken" in capsys.readouterr().err


def test_adopted_server_that_forks(closing: Closing, serve: Serve, recorder: Recorder) -> None:
    server = closing(adopt(socketserver.ForkingTCPServer)(LOCALHOST, Page))
    server.hooks = recorder.hooks
    call = serve(server)
    assert get(server, "/page") == b"/page"
    assert finished(recorder) == ["completed"]
    server.drain(60)
    call.result()
    assert server.active_requests == {}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_adopted_server_under_a_strategy(
    closing: Closing, serve: Serve, recorder: Recorder, strategy: type
) -> None:
    server = compose(strategy, adopt(http.server.HTTPServer))(LOCALHOST, Page)
    server.hooks = recorder.hooks
    serve(server)
    for _ in range(3):
        assert get(server, "/page") == b"/page"
    assert finished(recorder, 3) == ["completed"] * 3


def test_adopted_server_with_a_handle_error_of_its_own(serve: Serve, recorder: Recorder) -> None:
    reported = []

    class Server(http.server.HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            reported.append(client_address)

    server = adopt(Server)(LOCALHOST, Page)
    server.hooks = recorder.hooks
    serve(server)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        get(server, "/broken")
    assert finished(recorder) == ["failed"]
    assert len(reported) == 1
