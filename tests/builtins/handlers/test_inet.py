"""Who is answered, and who is not."""

import socket
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clients import connect, datagram_client
from patience import wait_until

from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.handlers.chargen import ChargenHandler
from plugport_builtins.handlers.daytime import DaytimeHandler
from plugport_builtins.handlers.echo import EchoHandler
from plugport_builtins.handlers.inet import InetHandler


def answers_to(address: Any) -> list[tuple[Any, ...]]:
    sent: list[tuple[Any, ...]] = []
    sock = SimpleNamespace(sendto=lambda *arguments: sent.append(arguments))
    EchoHandler((b"x", sock), address, SimpleNamespace(server_address=("127.0.0.1", 5000)))
    return sent


@pytest.mark.parametrize("port", [0, 7, 13, 17, 19, 37])
def test_another_service_is_not_answered(port: int) -> None:
    assert answers_to(("192.0.2.1", port)) == []
    assert answers_to(("2001:db8::1", port, 0, 0)) == []


def test_nor_is_a_server_of_the_same_port() -> None:
    assert answers_to(("192.0.2.1", 5000)) == []


@pytest.mark.parametrize("port", [1, 9, 53, 4999, 65535])
def test_others_are(port: int) -> None:
    assert answers_to(("192.0.2.1", port)) == [(b"x", ("192.0.2.1", port))]


def test_a_client_without_a_name_is_not_answered(start: Any, recorder: Any) -> None:
    server = start(EchoHandler, "unixgram")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"hello", server.server_address)
        wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes == ["completed"]


def test_a_client_with_an_abstract_name_is(start: Any) -> None:
    server = start(EchoHandler, "unixgram")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.bind("")  # the kernel chooses an abstract name
        client.sendto(b"hello", server.server_address)
        assert client.recv(100) == b"hello"


@pytest.mark.parametrize("leave_file", [True, False])
def test_a_client_that_has_gone_aborts_its_datagram(
    start: Any, recorder: Any, tmp_path: Path, leave_file: bool
) -> None:
    path = tmp_path / "client"
    server = start(GoneBeforeTheAnswer, "unixgram")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.bind(str(path))
        server.state.leave = lambda: (client.close(), leave_file or path.unlink())
        client.sendto(b"hello", server.server_address)
        wait_until(lambda: recorder.outcomes)
    path.unlink(missing_ok=True)
    assert recorder.outcomes == ["aborted"]


class GoneBeforeTheAnswer(InetHandler):
    def reply(self, data: bytes) -> bytes:
        self.server.state.leave()
        return data


def test_a_client_that_reads_no_answers_holds_nobody_up(start: Any, tmp_path: Path) -> None:
    server = start(EchoHandler, "unixgram", SyncMixIn)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.settimeout(5)
        deaf.bind(str(tmp_path / "deaf"))
        for _ in range(1000):  # above net.unix.max_dgram_qlen
            deaf.sendto(b"x", server.server_address)
        with datagram_client(server, tmp_path) as client:
            client.send(b"hello")
            assert client.recv(100) == b"hello"
    (tmp_path / "deaf").unlink()


@pytest.mark.parametrize("handler", [EchoHandler, ChargenHandler])
def test_a_client_that_resets_aborts_its_request(start: Any, recorder: Any, handler: type) -> None:
    server = start(handler)
    client = connect(server)
    client.sendall(b"x")
    assert client.recv(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket.close(client)  # without the shutdown of Client.close()
    wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes == ["aborted"]


def test_a_client_that_sends_nothing_and_leaves(start: Any, recorder: Any, stream: str) -> None:
    server = start(DaytimeHandler, stream)
    connect(server).close()
    wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes[0] in ("completed", "aborted")
