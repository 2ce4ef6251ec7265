"""Writing by the transport of connections: flow control, order, and the end of what is written."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest
from clients import read_all
from patience import wait_until
from scripts import LARGE, Script, Start, read_exactly, seen

from plugport.transports import StreamTransport


def test_flow_control(start: Start) -> None:
    session = start(Script())
    seen(session.protocol, "made")
    transport = session.protocol.transport

    def write() -> tuple[list[str], int]:
        transport.write(LARGE)
        transport.write(LARGE)
        return session.protocol.names, transport.get_write_buffer_size()

    names, size = session.do(write)
    assert names == ["made", "pause"]  # at once, and once
    assert len(LARGE) < size <= 2 * len(LARGE)
    received = read_exactly(session.peer, 2 * len(LARGE))
    assert received == LARGE * 2
    seen(session.protocol, "resume")
    wait_until(lambda: session.do(transport.get_write_buffer_size) == 0)
    assert session.protocol.names == ["made", "pause", "resume"]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, (16384, 65536)),
        ({"high": 1000}, (250, 1000)),
        ({"low": 1000}, (1000, 4000)),
        ({"high": 1000, "low": 10}, (10, 1000)),
        ({"high": 0}, (0, 0)),
    ],
)
def test_limits_of_flow_control(start: Start, limits: dict[str, int], expected: tuple[int, int]) -> None:
    session = start(Script())
    seen(session.protocol, "made")
    transport = session.protocol.transport
    session.do(lambda: transport.set_write_buffer_limits(**limits))
    assert transport.get_write_buffer_limits() == expected


@pytest.mark.parametrize("limits", [{"high": 1, "low": 2}, {"high": -1}, {"low": -1}, {"high": 5, "low": -1}])
def test_limits_that_can_not_be(start: Start, limits: dict[str, int]) -> None:
    session = start(Script())
    seen(session.protocol, "made")
    with pytest.raises(ValueError, match="must be >= low"):
        session.do(lambda: session.protocol.transport.set_write_buffer_limits(**limits))


def test_a_low_limit_pauses_early(start: Start) -> None:
    def made(transport: Any) -> None:
        transport.set_write_buffer_limits(high=0)
        transport.write(LARGE)

    session = start(Script(made))
    seen(session.protocol, "pause")
    assert read_exactly(session.peer, len(LARGE)) == LARGE
    seen(session.protocol, "resume")


def test_resume_writing_may_resume_reading_and_write(start: Start) -> None:
    class Blocks(Script):
        left = 2

        def resume_writing(self) -> None:
            self.transport.resume_reading()
            if self.left:
                self.left -= 1
                self.transport.write(LARGE)
            else:
                self.transport.close()

    def made(transport: Any) -> None:
        transport.set_write_buffer_limits(high=0)
        transport.pause_reading()
        transport.write(LARGE)

    session = start(Blocks(made))
    assert read_all(session.peer) == LARGE * 3
    session.ended()


def test_writes_keep_their_order_and_what_they_were_given(start: Start) -> None:
    def made(transport: Any) -> None:
        transport.write(LARGE)
        kept = bytearray(b"given")
        transport.write(kept)
        if isinstance(transport, StreamTransport):
            kept[:] = b"TAKEN"  # asyncio's, from Python 3.12 on, would send that
        transport.write(memoryview(b"viewed"))
        transport.write(memoryview(struct.pack("2i", 1, 2)).cast("i"))
        transport.write(b"")
        transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
        transport.writelines([])
        transport.close()

    session = start(Script(made))
    assert read_all(session.peer) == LARGE + b"givenviewed" + struct.pack("2i", 1, 2) + b"abc"
    session.ended()


@pytest.mark.parametrize("data", ["text", 5, None, [b"list"]])
def test_what_can_not_be_written(start: Start, data: Any) -> None:
    session = start(Script())
    seen(session.protocol, "made")
    with pytest.raises(TypeError):
        session.do(session.protocol.transport.write, data)


def test_the_end_of_what_is_written_comes_after_the_rest(start: Start) -> None:
    def made(transport: Any) -> None:
        transport.write(LARGE)
        transport.write_eof()
        transport.write_eof()

    session = start(Script(made))
    assert read_all(session.peer) == LARGE
    with pytest.raises(RuntimeError):
        session.do(session.protocol.transport.write, b"more")
    session.peer.sendall(b"reading goes on")
    seen(session.protocol, "data")
    session.peer.shutdown(socket.SHUT_WR)
    assert session.ended()[-2:] == ["eof", "lost"]
