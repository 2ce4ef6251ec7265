"""checksum: SHA-256, of small input at once and of large input in a forked child."""

import hashlib
import socket
from pathlib import Path
from typing import Any

import pytest
from clients import ask, connect, datagram_client, read_all
from patience import wait_until

from plugport_builtins.concurrency.forking import ForkingMixIn
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.handlers.checksum import ChecksumHandler


def sum_of(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode() + b"\n"


@pytest.mark.parametrize("strategy", [SyncMixIn, ThreadingMixIn, ForkingMixIn])
@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 3_000_000])
def test_a_connection(start: Any, recorder: Any, strategy: type, stream: str, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    assert ask(start(ChecksumHandler, stream, strategy), data[:size]) == sum_of(data[:size])
    wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes == ["completed"]


@pytest.mark.parametrize("size", [0, 1, 65507])
def test_a_datagram(start: Any, recorder: Any, datagram: str, tmp_path: Path, size: int) -> None:
    with datagram_client(start(ChecksumHandler, datagram, SyncMixIn, small=0), tmp_path) as client:
        client.send(bytes(size))
        assert client.recv(100) == sum_of(bytes(size))
    assert not recorder.of("child_exited")


@pytest.mark.parametrize(("size", "children"), [(1000, 0), (1001, 1)])
def test_only_large_input_forks(start: Any, recorder: Any, size: int, children: int) -> None:
    server = start(ChecksumHandler, strategy=SyncMixIn, small=1000)
    assert ask(server, bytes(size)) == sum_of(bytes(size))
    wait_until(lambda: recorder.outcomes and len(recorder.of("child_exited")) == children)
    assert [call["status"] for call in recorder.of("child_exited")] == [0] * children


def test_threads_do_not_fork(start: Any, recorder: Any) -> None:
    assert ask(start(ChecksumHandler, small=0), bytes(1000)) == sum_of(bytes(1000))
    wait_until(lambda: recorder.outcomes)
    assert not recorder.of("child_exited")


def test_large_input_holds_nobody_up(start: Any, stream: str) -> None:
    server = start(ChecksumHandler, stream, SyncMixIn, small=1000)
    with connect(server) as slow:
        slow.sendall(bytes(1001))
        wait_until(lambda: server.active_children)
        assert ask(server, b"small") == sum_of(b"small")
        slow.sendall(bytes(1000))
        slow.shutdown(socket.SHUT_WR)
        assert read_all(slow) == sum_of(bytes(2001))


def test_a_client_that_leaves_in_the_middle(start: Any, recorder: Any, stream: str) -> None:
    server = start(ChecksumHandler, stream, SyncMixIn, small=0)
    with connect(server) as client:
        client.sendall(b"x")
        wait_until(lambda: server.active_children)
    wait_until(lambda: recorder.of("child_exited"))
    assert ask(server, b"") == sum_of(b"")
