"""The standard library's HTTP classes as components: served by plugport, fetched by curl."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from clients import read_all
from command import Service, plugport, serving
from patience import PATIENCE, Call

from plugport.combination.verdicts import compose
from plugport.contracts.hooks import NO_HOOKS
from plugport.errors import IncompatibleError
from plugport.serving.service import build_server
from plugport.serving.url import Url

HANDLER = "http.server:SimpleHTTPRequestHandler"
URL = "tcp://127.0.0.1:0"
CONTENT = bytes(range(256)) * 4096
WARNING = "plugport: warning: one slow client makes the service deaf to all others"
TIMED_OUT = 28  # curl(1), EXIT CODES


def curl(service: Service, path: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    url = service.urls[0].replace("tcp:", "http:") + path
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--max-time",
        str(PATIENCE),
        *options,
        url,
    ]
    return subprocess.run(command, capture_output=True, timeout=2 * PATIENCE)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with files."""
    (tmp_path / "page.html").write_text("<p>Hello")
    (tmp_path / "large.bin").write_bytes(CONTENT)
    return tmp_path


@pytest.mark.tools("curl")
@pytest.mark.parametrize("strategy", ["sync", "threading", "forking"])
def test_curl_fetches_files(site: Path, strategy: str) -> None:
    with serving(site, HANDLER, URL, "-c", strategy) as service:
        assert curl(service, "/page.html").stdout == b"<p>Hello"
        assert curl(service, "/large.bin").stdout == CONTENT
        assert b'<a href="page.html">' in curl(service, "/").stdout
        head = curl(service, "/large.bin", "--head").stdout.decode()
        assert head.startswith("HTTP/1.0 200 OK\r\n")
        assert f"\r\nContent-Length: {len(CONTENT)}\r\n" in head
        missing = curl(service, "/missing", "--output", "/dev/null", "--write-out", "%{http_code}")
        assert (missing.returncode, missing.stdout) == (0, b"404")
        assert (WARNING in service.output) is (strategy == "sync")


@pytest.mark.tools("curl")
@pytest.mark.parametrize("strategy", ["threading", "forking"])
def test_a_client_that_drips_makes_it_deaf_to_nobody(site: Path, strategy: str) -> None:
    with serving(site, HANDLER, URL, "-c", strategy) as service, service.connect() as slow:
        for drop in (b"GET /pa", b"ge.html HT", b"TP/1.0\r\n"):
            slow.sendall(drop)
            assert curl(service, "/large.bin").stdout == CONTENT
        slow.sendall(b"\r\n")
        assert read_all(slow).endswith(b"\r\n\r\n<p>Hello")


@pytest.mark.tools("curl")
def test_under_sync_it_warns_and_is_right(site: Path) -> None:
    with serving(site, HANDLER, URL, "-c", "sync") as service:
        assert service.output.startswith(WARNING)
        with service.connect() as slow:
            slow.sendall(b"GET /pa")
            assert curl(service, "/page.html", "--max-time", "0.5").returncode == TIMED_OUT
            waiting = Call(curl, service, "/page.html")
            slow.sendall(b"ge.html HTTP/1.0\r\n\r\n")
            assert read_all(slow).endswith(b"\r\n\r\n<p>Hello")
        assert waiting.result().stdout == b"<p>Hello"


@pytest.mark.parametrize("strategy", ["sync", "threading", "forking"])
def test_a_server_class_is_composed_by_name(serve: Callable[..., Call], closing: Any, strategy: str) -> None:
    server_class = compose("http.server:HTTPServer", strategy)
    assert server_class.__name__ == strategy.capitalize() + "HTTPServer"
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *arguments: None})
    server = closing(
        build_server(server_class, Url("tcp", "127.0.0.1:0"), handler, handler_name="files", hooks=NO_HOOKS)
    )
    assert server.server_port == server.server_address[1]  # what HTTPServer.server_bind() adds
    serve(server)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=PATIENCE) as answer:
        assert answer.status == 200
        assert b"Directory listing" in answer.read()


def test_a_server_class_with_a_strategy_inside_takes_no_other(tmp_path: Path) -> None:
    with pytest.raises(IncompatibleError, match=r"use http\.server:HTTPServer"):
        compose("http.server:ThreadingHTTPServer", "forking")
    result = plugport(tmp_path, "check", HANDLER, "http.server:HTTPServer", "threading")
    assert (result.returncode, result.stdout) == (0, "legal\n")
    result = plugport(tmp_path, "check", HANDLER, "http.server:ThreadingHTTPServer", "threading")
    assert result.returncode == 1


def test_a_member_variable_of_the_handler_is_an_option(site: Path) -> None:
    with serving(site, HANDLER, URL, "-o", "handler.timeout=0.2", "--access-log") as service:
        with service.connect() as silent:
            assert read_all(silent) == b""
        service.stop()
        assert service.outcomes() == ["completed"]
