"""The conformance of the built-in servers."""

from __future__ import annotations

import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any

from certificates import authority

from plugport_builtins.servers.tls import TLSServer
from plugport_testing.conformance import ServerConformance
from plugport_testing.conformance.clients import Client
from plugport_testing.conformance.trial import Trial

_FOLDER = tempfile.TemporaryDirectory()


class TestTCP(ServerConformance):
    server = "tcp"


class TestTCP6(ServerConformance):
    server = "tcp"
    url = "tcp://[::1]:0"


class TestUDP(ServerConformance):
    server = "udp"


class TestUnix(ServerConformance):
    server = "unix"


class TestUnixgram(ServerConformance):
    server = "unixgram"


class CertifiedServer(TLSServer):
    certfile = str(authority().write(Path(_FOLDER.name) / "certificate.pem"))


class TestTLS(ServerConformance):
    server = CertifiedServer

    def connect(self, trial: Trial) -> Any:
        plain = trial.connect()
        # Where nobody serves, a case is about the connection below.
        return secured(plain) if trial.is_serving() else plain

    def test_max_active_requests(self, strategy: str) -> None:
        """Who comes when so many are active waits, and that is with its handshake."""
        if strategy == "sync":
            return  # which has one at a time anyway
        with self.serving(strategy, max_active_requests=1) as trial:
            with self.client(trial) as first:
                assert first.ask(b"hello") == b"hello"
                waiting = trial.connect()
                waiting.settimeout(0.03)
                client = (
                    authority()
                    .client()
                    .wrap_socket(waiting, server_hostname="localhost", do_handshake_on_connect=False)
                )
                try:
                    client.do_handshake()
                except TimeoutError:
                    pass
                else:
                    raise AssertionError("a second one is not made to wait")
                assert len(trial.server.active_requests) == 1
            client.settimeout(self.patience)
            client.do_handshake()
            with Client(client) as second:
                assert second.ask(b"hello") == b"hello"

    def test_drain_serves_the_backlog(self, strategy: str) -> None:
        """Who has connected before it drains is served, and shakes hands meanwhile."""
        with self.binding(strategy) as trial:
            waiting = trial.connect()
            trial.drain(self.patience)
            trial.start()
            with Client(secured(waiting)) as client:
                client.send(b"hello\n")
                client.write_eof()
                assert client.read_all() == b"hello\n"
            trial.join()


def secured(plain: socket.socket) -> Any:
    """A copy of the connection after the handshake; itself where the server has ended it before."""
    try:
        return authority().client().wrap_socket(plain.dup(), server_hostname="localhost")
    except (ssl.SSLError, ConnectionError):
        return plain
