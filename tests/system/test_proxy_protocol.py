"""Services behind a proxy: HAProxy's own, curl and socat as such, and clients that are none."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import authority
from clients import Client, is_closed, read_all
from command import Service, error_of, plugport, serving
from environments import Process
from patience import PATIENCE, wait_until

WHO = Path(__file__).with_name("whois.py")
URL = "tcp://127.0.0.1:0"
PROXIED = ("-o", "proxy_protocol=true", "-o", "proxy_trusted=192.0.2.0/24,127.0.0.0/8", "--access-log")
CELLS = [
    ("sync", "BlockingWho"),
    ("threading", "BlockingWho"),
    ("thread-pool", "MessageWho"),
    ("forking", "BlockingWho"),
    ("select", "ProtocolWho"),
    ("asyncio", "ProtocolWho"),
    ("asyncio", "async_who"),
    ("asyncio", "MessageWho"),
]

V1 = b"PROXY TCP4 203.0.113.7 127.0.0.1 50123 443\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" + bytes(15) + b"\x07" + bytes(15) + b"\x01" + b"\xc3\xcb\x01\xbb"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


def ask(service: Service, header: bytes, line: bytes = b"hello") -> bytes:
    with service.connect() as client:
        client.sendall(header + line + b"\n")
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


@contextlib.contextmanager
def silent(service: Service, count: int) -> Iterator[list[Client]]:
    """Clients that say nothing, or half a header."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(service.connect()) for _ in range(count)]
        for number, client in enumerate(clients):
            client.sendall((V1, V2)[number % 2][: number % 15])
        yield clients


def proxied(folder: Path, handler: str, strategy: str, *options: str, url: str = URL) -> Any:
    return serving(folder, f"{WHO}:{handler}", url, "-c", strategy, *PROXIED, *options)


@pytest.mark.parametrize(("strategy", "handler"), CELLS)
def test_the_clients_own_address_is_everywhere(tmp_path: Path, strategy: str, handler: str) -> None:
    with (
        proxied(tmp_path, handler, strategy, "--grace", "0.05") as service,
        silent(service, 50) as mute,
    ):
        assert ask(service, V1) == b"('203.0.113.7', 50123) hello\n"
        assert ask(service, V2) == b"('::7', 50123, 0, 0) hello\n"
        assert re.fullmatch(rb"\('127.0.0.1', \d+\) hello\n", ask(service, LOCAL))
        with service.connect() as client:  # byte by byte
            for byte in V1:
                client.sendall(bytes([byte]))
            client.sendall(b"hello\n")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"('203.0.113.7', 50123) hello\n"
        wait_until(lambda: len(service.outcomes()) == 4)
        assert service.outcomes() == ["completed"] * 4
        assert len(re.findall(r":\w+ 203\.0\.113\.7:50123 completed", service.output)) == 2
        assert " [::7]:50123 " in service.output
        service.signal()
        assert all(is_closed(client) for client in mute)
        assert service.wait() == 0
    assert service.output.count(" rejected: the service has ended") == 50


@pytest.mark.parametrize("strategy", ["sync", "forking", "select", "asyncio"])
def test_what_is_refused_and_why(tmp_path: Path, strategy: str) -> None:
    handler = "ProtocolWho" if strategy in ("select", "asyncio") else "BlockingWho"
    with proxied(tmp_path, handler, strategy, "-o", "prelude_timeout=0.2") as service:
        for data in (b"GET / HTTP/1.1\r\n\r\n", V1.replace(b"443", b"x"), b"PROXY UNKNOWN" + b"x" * 200):
            with service.connect() as client:
                client.sendall(data)
                assert is_closed(client)
        for half in (b"", V1[:20], V2[:20]):
            with service.connect() as client:
                client.sendall(half)
                assert is_closed(client)
        with service.connect() as client:
            client.sendall(V1[:20])
            client.shutdown(socket.SHUT_WR)
            assert is_closed(client)
        assert ask(service, V1) == b"('203.0.113.7', 50123) hello\n"
    for count, reason in (
        (1, r"no PROXY header: the connection begins with b'GET /"),
        (1, r"'x' is not a port"),
        (1, r"more than 107 bytes"),
        (3, r"longer than prelude_timeout = 0.2 s"),
        (1, r"ended before the end of its PROXY header"),
    ):
        assert len(re.findall(rf"127\.0\.0\.1:\d+ rejected: .*{reason}", service.output)) == count, reason


def test_who_is_not_trusted_is_refused(tmp_path: Path) -> None:
    options = ("-o", "proxy_protocol=true", "-o", "proxy_trusted=192.0.2.0/24")
    with serving(tmp_path, f"{WHO}:BlockingWho", URL, *options) as service, service.connect() as client:
        client.sendall(V1)
        assert is_closed(client)
        service.wait_for(r"rejected 127\.0\.0\.1:\d+: its address is not in proxy_trusted")


def test_a_mapped_address_is_the_one_it_maps(tmp_path: Path) -> None:
    with proxied(tmp_path, "BlockingWho", "threading", url="tcp://[::]:0") as service:
        port = int(service.urls[0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(V1 + b"hello\n")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"('203.0.113.7', 50123) hello\n"


def test_over_a_unix_socket_everybody_is_trusted_whom_the_file_lets_in(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/socket"
    with serving(tmp_path, f"{WHO}:BlockingWho", url, "-o", "proxy_protocol=true") as service:
        assert ask(service, V1) == b"('203.0.113.7', 50123) hello\n"


@pytest.mark.parametrize(
    ("strategy", "handler"),
    [
        ("sync", "BlockingWho"),
        ("select", "ProtocolWho"),
        ("asyncio", "ProtocolWho"),
        ("asyncio", "async_who"),
    ],
)
def test_the_header_comes_before_tls(tmp_path: Path, strategy: str, handler: str) -> None:
    certfile = authority().write(tmp_path / "certificate.pem")
    options = ("-o", f"certfile={certfile}")
    trusting = authority().client()
    with proxied(tmp_path, handler, strategy, *options, url="tls://127.0.0.1:0") as service:
        for header, told in ((V1, b"('203.0.113.7', 50123)"), (V2, b"('::7', 50123, 0, 0)")):
            with socket.create_connection(service.address.address, PATIENCE) as client:
                client.sendall(header)
                with trusting.wrap_socket(client, server_hostname="localhost") as secure:
                    secure.sendall(b"hello\n")
                    assert secure.makefile("rb").readline() == told + b" hello\n"
        with pytest.raises((ConnectionError, ssl.SSLError)):
            authority().connect(service.address.address)
        service.wait_for("rejected: no PROXY header: the connection begins with")


def test_tls_asks_for_the_trusted_too(tmp_path: Path) -> None:
    certfile = authority().write(tmp_path / "certificate.pem")
    arguments = ["tls://127.0.0.1:0", "-o", f"certfile={certfile}", "-o", "proxy_protocol=true"]
    assert "no proxy is trusted" in error_of(plugport(tmp_path, "serve", "echo", *arguments))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["proxy_protocol=true"], "no proxy is trusted"),
        (["proxy_protocol=true", "proxy_trusted="], "no proxy is trusted"),
        (["proxy_protocol=true", "proxy_trusted=10.0.0.1/8"], "10.0.0.1/8 has host bits set"),
        (["proxy_protocol=true", "proxy_trusted=proxy.example"], "'proxy.example' is neither an address"),
        (["proxy_trusted=127.0.0.1"], "add -o proxy_protocol=true"),
        (["proxy_protocol=maybe"], "expected bool"),
    ],
)
def test_options_without_sense(tmp_path: Path, options: list[str], says: str) -> None:
    arguments = [argument for option in options for argument in ("-o", option)]
    assert says in error_of(plugport(tmp_path, "serve", "echo", URL, "-c", "asyncio", *arguments))


# Clients and proxies of others ----------------------------------------------------------------


@pytest.mark.tools("curl")
def test_curl_as_a_proxy(tmp_path: Path) -> None:
    with proxied(tmp_path, "WebWho", "threading") as service:
        command = ["curl", "-sS", "--noproxy", "*", "--haproxy-protocol", "-w", "%{local_port}"]
        command.append(service.urls[0].replace("tcp", "http"))
        result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        address, port = result.stdout.split("\n")
        assert address.strip() == f"('127.0.0.1', {port})"


@pytest.mark.tools("socat")
def test_socat_as_a_proxy(tmp_path: Path) -> None:
    with proxied(tmp_path, "BlockingWho", "asyncio") as service:
        _, _, (host, port) = service.address
        result = subprocess.run(
            ["socat", "-t", str(PATIENCE), "-", f"TCP4:{host}:{port}"],
            input=V2 + b"hello\n",
            capture_output=True,
            timeout=PATIENCE,
        )
        assert result.stdout == b"('::7', 50123, 0, 0) hello\n", result


HAPROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server plugport {address} {send}
"""


@contextlib.contextmanager
def haproxy(folder: Path, address: str, send: str) -> Iterator[int]:
    """HAProxy before *address*; yields the port that it listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, address=address, send=send))
    process = Process(["/usr/sbin/haproxy", "-db", "-f", str(config)], folder / "haproxy.log")
    try:
        wait_until(lambda: _accepts(port), what="haproxy")
        yield port
    finally:
        process.stop()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.tools("haproxy")
@pytest.mark.parametrize(
    ("strategy", "handler", "send"),
    [
        ("sync", "BlockingWho", "send-proxy"),
        ("asyncio", "ProtocolWho", "send-proxy-v2"),
        ("forking", "MessageWho", "send-proxy-v2 proxy-v2-options crc32c,unique-id"),
    ],
)
def test_behind_haproxy(tmp_path: Path, strategy: str, handler: str, send: str) -> None:
    with (
        proxied(tmp_path, handler, strategy) as service,
        haproxy(tmp_path, service.urls[0].removeprefix("tcp://"), send) as port,
        socket.create_connection(("127.0.0.1", port), PATIENCE) as client,
    ):
        client.sendall(b"hello\n")
        assert client.makefile("rb").readline() == f"{client.getsockname()} hello\n".encode()


@pytest.mark.tools("haproxy")
def test_what_haproxy_says_of_its_own_checks(tmp_path: Path) -> None:
    with proxied(tmp_path, "BlockingWho", "threading") as service:
        address = service.urls[0].removeprefix("tcp://")
        with haproxy(tmp_path, address, "send-proxy-v2 check inter 50ms check-send-proxy"):
            wait_until(lambda: service.outcomes(), what="a check")
    assert "rejected" not in service.output


def test_a_thousand_silent_clients(tmp_path: Path) -> None:
    script = """
import socket, sys
clients = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(1000)]
print("there", flush=True)
sys.stdin.read()
"""
    with proxied(tmp_path, "BlockingWho", "sync") as service:
        _, _, (host, port) = service.address
        command = [sys.executable, "-S", "-c", script, host, str(port)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as crowd:
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == b"there\n"
            for _ in range(3):
                assert ask(service, V1) == b"('203.0.113.7', 50123) hello\n"
            crowd.communicate(timeout=PATIENCE)
    assert service.output.count("max_preludes = 512") >= 488
