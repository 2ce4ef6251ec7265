"""TLS under gevent: the cases of connections, and clients of others; patched and not."""

from __future__ import annotations

import atexit
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme
from handlers import PAUSE
from plugport_builtins.servers.tls import TLSServer
from plugport_testing.clients import converse
from plugport_testing.conformance import StreamConformance
from plugport_testing.plugin import Serve
from plugport_testing.waiting import PATIENCE
from processes import Process

_FOLDER = tempfile.TemporaryDirectory()
atexit.register(_FOLDER.cleanup)
_AUTHORITY = trustme.CA()
CERTFILE = str(Path(_FOLDER.name) / "certificate.pem")
ROOT = str(Path(_FOLDER.name) / "root.pem")
_AUTHORITY.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(CERTFILE)
_AUTHORITY.cert_pem.write_to_path(ROOT)


class HalfClosing(ssl.SSLSocket):
    """A client that can end its side as one on a plain connection does, and read on."""

    def shutdown(self, how: int) -> None:
        if how == socket.SHUT_WR:
            socket.socket.shutdown(self, how)
        else:
            super().shutdown(how)


def secured(plain: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=ROOT)
    context.sslsocket_class = HalfClosing
    return context.wrap_socket(plain, server_hostname="localhost")


class CertifiedServer(TLSServer):
    certfile = CERTFILE


class TestTLS(StreamConformance):
    strategy = "gevent"
    server: ClassVar[Any] = CertifiedServer
    client_count = 100

    # About what goes on below TLS, with clients that shake hands too early, or not at all.
    test_bytes_are_counted: Any = None
    test_client_closes_early: Any = None
    test_reset: Any = None
    test_hooks: Any = None
    test_max_active_requests: Any = None
    test_drain_serves_the_backlog: Any = None
    test_prelude: Any = None
    test_bad_prelude: Any = None
    test_prelude_timeout: Any = None
    test_prelude_waits_for_room: Any = None
    test_silent_clients_delay_no_other: Any = None
    test_too_many_silent_clients: Any = None
    test_drain_waits_for_preludes: Any = None

    @classmethod
    def values(cls, needs: Any) -> tuple[str, ...]:
        """Blocking handlers: TLS of the others is plugport's own, above the connection."""
        return tuple(style for style in super().values(needs) if style == "blocking")

    def secure(self, sock: Any) -> Any:
        return secured(sock)


def test_a_silent_client_is_cut_and_holds_up_nobody(plugport_serve: Serve) -> None:
    service = plugport_serve("echo", concurrency="gevent", server=CertifiedServer, handshake_timeout=0.3)
    silent = service.connect()
    silent.send(b"\x16\x03\x01\x00\x05\x01")  # the beginning of a ClientHello
    with secured(service.connect()) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
    silent.close()


def test_a_client_that_stops_in_its_handshake_times_out(plugport_serve: Serve) -> None:
    service = plugport_serve("echo", concurrency="gevent", server=CertifiedServer, handshake_timeout=0.3)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = ssl.create_default_context(cafile=ROOT).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    stopped = service.connect()
    stopped.sendall(outgoing.read())
    with secured(service.connect()) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
    while stopped.recv(65536):
        pass
    outcomes = {
        service.wait_for_event("request_finished", count=count)["context"].outcome for count in (1, 2)
    }
    assert outcomes == {"completed", "timed-out"}


# In a process that is patched ---------------------------------------------------------------------


def test_sleepers_over_tls(service: Callable[..., Process]) -> None:
    process = service("Slow", "tls://127.0.0.1:0", "-o", f"certfile={CERTFILE}")
    begin = time.monotonic()
    clients = [secured(process.connect()) for _ in range(20)]
    for client in clients:
        client.sendall(b"hello\n")
    for client in clients:
        assert client.recv(100) == b"HELLO\n"
        client.close()
    assert time.monotonic() - begin < 20 * PAUSE / 2
    process.signal()
    assert process.join()[0] == 0
    assert "Traceback" not in process.log


@pytest.mark.tools("curl")
def test_curl_over_tls(
    service: Callable[..., Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(content)
    process = service("Files", "tls://127.0.0.1:0", "-o", f"certfile={CERTFILE}")
    command = ["curl", "-sS", "--fail", "--cacert", ROOT, f"https://localhost:{process.port}/file"]
    for version in ("--tlsv1.3", "--tls-max"):
        arguments = [version] if version == "--tlsv1.3" else [version, "1.2"]
        result = subprocess.run([*command, *arguments], capture_output=True, timeout=PATIENCE)
        assert result.stdout == content, result.stderr


def test_both_directions_at_once_over_tls(service: Callable[..., Process]) -> None:
    process = service("echo", "tls://127.0.0.1:0", "-o", f"certfile={CERTFILE}")
    sent = bytes(range(256)) * 20_000
    with secured(process.connect()) as client:
        received = converse(client, sent, len(sent))
    assert received == sent
