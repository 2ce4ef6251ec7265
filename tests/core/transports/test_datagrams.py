"""The transport of datagrams."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from patience import PATIENCE
from scripts import Owner

from plugport.transports import DatagramTransport


class Letters(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.lost: list[Exception | None] = []

    def error_received(self, error: Exception) -> None:
        self.errors.append(error)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.append(error)


@pytest.fixture
def letters() -> Iterator[tuple[Any, Letters, socket.socket]]:
    """The transport of a bound datagram socket, its protocol, and another socket."""
    with socket.socket(type=socket.SOCK_DGRAM) as ours, socket.socket(type=socket.SOCK_DGRAM) as theirs:
        ours.bind(("127.0.0.1", 0))
        theirs.bind(("127.0.0.1", 0))
        theirs.settimeout(PATIENCE)
        protocol = Letters()
        yield DatagramTransport(None, ours, protocol, Owner(ours)), protocol, theirs


def test_datagrams_are_sent(letters: Any) -> None:
    transport, protocol, peer = letters
    for data in (b"bytes", bytearray(b"bytearray"), memoryview(b"view"), b""):
        transport.sendto(data, peer.getsockname())
        assert peer.recv(100) == bytes(data)
    assert transport.get_write_buffer_size() == 0
    with pytest.raises(TypeError):
        transport.sendto("text", peer.getsockname())
    assert protocol.errors == []


def test_an_error_of_sending_is_received(letters: Any) -> None:
    transport, protocol, peer = letters
    transport.sendto(bytes(70000), peer.getsockname())
    assert [type(error) for error in protocol.errors] == [OSError]


@pytest.mark.parametrize("method", ["close", "abort"])
def test_the_end_of_a_datagram_transport(letters: Any, method: str) -> None:
    transport, protocol, peer = letters
    getattr(transport, method)()
    getattr(transport, method)()
    assert transport.is_closing()
    assert protocol.lost == [None]
    transport.sendto(b"late", peer.getsockname())
