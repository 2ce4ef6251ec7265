"""echo (RFC 862)."""

import os
from pathlib import Path
from typing import Any

import pytest
from clients import ask, connect, datagram_client, read_all
from patience import Call

from plugport_builtins.handlers.echo import EchoHandler


def test_a_connection(start: Any, recorder: Any, stream: str) -> None:
    server = start(EchoHandler, stream)
    with connect(server) as client:
        for text in (b"hello\n", b"\0", b"no end of line"):
            client.sendall(text)
            assert client.recv(100) == text
    assert ask(server, b"") == b""
    assert ask(server, b"hello") == b"hello"


def test_much_data(start: Any, stream: str) -> None:
    data = os.urandom(3_000_000)
    with connect(start(EchoHandler, stream)) as client:

        def send() -> None:
            client.sendall(data)
            client.shutdown(1)

        sending = Call(send)
        assert read_all(client) == data
        sending.result()


@pytest.mark.parametrize("size", [0, 1, 512, 65507])
def test_a_datagram(start: Any, datagram: str, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    with datagram_client(start(EchoHandler, datagram), tmp_path) as client:
        client.send(data)
        assert client.recv(65536) == data
