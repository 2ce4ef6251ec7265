"""Handshakes of the server tls: clients that are silent, slow or speak something else hold up nobody."""

from __future__ import annotations

import contextlib
import errno
import logging
import resource
import socket
import ssl
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import authority
from patience import PATIENCE, wait_until
from secured import (
    BASIC_CELLS,
    STRATEGIES,
    BlockingLines,
    ProtocolLines,
    assert_one_line,
    async_lines,
    connect,
    exchange,
    outcomes,
)

from plugport import BaseRequestHandler


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    client = authority().client().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_silent_and_half_open_clients_stall_nobody(strategy: str, start: Callable[..., Any]) -> None:
    crowd = 1000 if strategy in ("select", "asyncio", "thread-pool") else 60
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    served = start(BlockingLines, strategy, max_preludes=2000, max_active_requests=2)
    half = client_hello()[:100]
    with contextlib.ExitStack() as stack:
        for number in range(crowd):
            plain = stack.enter_context(socket.create_connection(served.address, PATIENCE))
            if number % 2:
                plain.send(half)
        start_time = time.monotonic()
        for _ in range(3):
            with connect(served) as client:
                assert exchange(client, b"hello\n") == b"HELLO\n"
        assert time.monotonic() - start_time < PATIENCE / 2
        wait_until(lambda: not served.server.active_requests)
        assert outcomes(served, 3) == ["completed"] * 3
        assert len([event for event in served.events if event.hook == "request_started"]) == 3


@pytest.mark.parametrize("strategy", ["threading", "select", "asyncio"])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_client_that_leaves_amid_its_hello(at_once: bool, strategy: str, start: Callable[..., Any]) -> None:
    served = start(BlockingLines, strategy)
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.send(client_hello()[:100])
        if not at_once:
            wait_until(lambda: served.server.intake.pending)
    reason = served.wait_for_event("request_rejected", PATIENCE / 2)["reason"]
    assert reason == "the client closed the connection before its request began"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "said",
    [
        b"G",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x00\x01",
        b"\x16\x02\x01\x00\x05hello",
        b"\x16\x03\x01\x00\x05\x02ello",
    ],
    ids=["byte", "http", "empty", "version", "message"],
)
def test_who_does_not_speak_tls_is_turned_away(said: bytes, strategy: str, start: Callable[..., Any]) -> None:
    served = start(BlockingLines, strategy)
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.send(said)
        with contextlib.suppress(ConnectionError):
            assert plain.recv(100) == b""
    assert served.wait_for_event("request_rejected")["reason"] == "the client does not speak TLS"
    assert not [event for event in served.events if event.hook == "request_started"]


def test_a_hello_in_many_records(start: Callable[..., Any]) -> None:
    """One that is cut into records of few bytes takes no thread before it is whole."""
    served = start(BlockingLines, "threading")
    hello = client_hello()[5:]
    records = [b"\x16\x03\x01\x00\x10" + hello[at : at + 16] for at in range(0, 160, 16)]
    with socket.create_connection(served.address, PATIENCE) as plain:
        for record in records:
            plain.send(record)
        time.sleep(0.05)
        assert not served.server.active_requests


def test_a_hello_in_too_many_records_is_turned_away(start: Callable[..., Any]) -> None:
    served = start(BlockingLines, "threading")
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.sendall(b"".join(b"\x16\x03\x01\x00\x01" + bytes([each]) for each in client_hello()[5:105]))
        reason = served.wait_for_event("request_rejected")["reason"]
    assert reason == "the ClientHello has more than 64 records"


def test_a_hello_without_end_is_turned_away(start: Callable[..., Any]) -> None:
    served = start(BlockingLines, "threading")
    record = b"\x16\x03\x01\x40\x00"
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.sendall((record + b"\x01\xff\xff\xff" + bytes(16380)) + 2 * (record + bytes(16384)))
        reason = served.wait_for_event("request_rejected")["reason"]
    assert reason == "the ClientHello has more than 32768 bytes"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_client_that_stops_in_the_handshake_times_out(
    strategy: str, start: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    served = start(BlockingLines, strategy, handshake_timeout=0.3)
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.send(client_hello())
        assert outcomes(served) == ["timed-out"]
    with connect(served) as client:
        assert exchange(client, b"hello\n") == b"HELLO\n"
    assert_one_line(caplog, strategy, "handshake_timeout = 0.3 s")


def test_a_want_of_descriptors_is_no_fault_of_the_client(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrap_connection(request: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    served = start(BlockingLines, "threading")
    monkeypatch.setattr(served.server, "wrap_connection", wrap_connection)
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.send(client_hello())
        assert outcomes(served) == ["failed"]


@pytest.mark.parametrize("handler", [ProtocolLines, async_lines])
def test_shutdown_amid_a_handshake_ends_the_request(handler: Any, start: Callable[..., Any]) -> None:
    served = start(handler, "asyncio")
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.send(client_hello())
        served.wait_for_event("request_started")
        served.server.shutdown()
        assert outcomes(served) == ["aborted"]
    assert not served.server.active_requests


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("handler", [BlockingLines, ProtocolLines])
def test_a_handshake_that_fails_is_one_line(
    handler: Any, strategy: str, start: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    served = start(handler, strategy)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(served, context=ssl.create_default_context())
    assert outcomes(served) == ["aborted"]
    old = authority().client()
    with warnings.catch_warnings(action="ignore"):
        old.maximum_version = old.minimum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(served, context=old)
    assert outcomes(served, 2) == ["aborted", "aborted"]
    assert_one_line(caplog, strategy, "the TLS handshake failed: ")


@pytest.mark.parametrize(("handler", "strategy"), BASIC_CELLS)
def test_who_is_refused_hears_why(
    handler: Any, strategy: str, start: Callable[..., Any], tmp_path: Path
) -> None:
    root = authority().write_root(tmp_path / "root.pem")
    served = start(handler, strategy, client_ca=str(root))
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"), connect(served) as client:
        client.recv(100)
    old = authority().client()
    with warnings.catch_warnings(action="ignore"):
        old.maximum_version = old.minimum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        connect(served, context=old)
    assert outcomes(served, 2) == ["aborted", "aborted"]


@pytest.mark.parametrize(("handler", "strategy"), BASIC_CELLS)
def test_a_name_that_nobody_has_is_told_of(
    handler: Any, strategy: str, start: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "names").mkdir()
    authority().write(tmp_path / "names" / "other.example.pem", "other.example")
    served = start(handler, strategy, certfile=None, sni_directory=str(tmp_path / "names"))
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        connect(served)
    assert outcomes(served) == ["aborted"]
    assert_one_line(caplog, strategy, "the TLS handshake failed: there is no certificate for 'localhost'")


class TellsTheAddress(BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(repr(self.client_address).encode())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_proxys_header_comes_before_the_handshake(strategy: str, start: Callable[..., Any]) -> None:
    served = start(TellsTheAddress, strategy, proxy_protocol=True, proxy_trusted=["127.0.0.1"])
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")
        with authority().client().wrap_socket(plain, server_hostname="localhost") as client:
            assert client.recv(100) == b"('192.0.2.7', 4711)"
            assert client.recv(100) == b""
