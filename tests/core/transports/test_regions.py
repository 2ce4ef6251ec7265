"""send_file() of the transport of connections: a file goes out in its order, whole, and in no more memory."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from patience import PATIENCE, Call

from plugport.bridges.pump import ConnectionLoop
from plugport.contracts.requests import RequestContext
from plugport.transports import regions
from plugport_testing.memory import MemoryConnection

CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as opened:
        yield opened


class Sends(asyncio.Protocol):
    """Calls *made* with its transport; notes what it is told."""

    def __init__(self, made: Callable[[Any], None]) -> None:
        self.made = made
        self.calls: list[Any] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.made(transport)

    def pause_writing(self) -> None:
        self.calls.append(("pause", self.transport.get_write_buffer_size()))

    def resume_writing(self) -> None:
        self.calls.append(("resume", self.transport.get_write_buffer_size()))

    def connection_lost(self, error: Exception | None) -> None:
        self.calls.append(("lost", error))

    def done(self, close: bool = False) -> Callable[[], None]:
        def done() -> None:
            self.calls.append("done")
            if close:
                self.transport.close()

        return done


def sent(protocol: Any) -> bytes:
    """What comes of it at the other end, which reads until the end."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    context = RequestContext(SimpleNamespace(handler_name="test"), ours, None)

    def run() -> None:
        with ours:
            ConnectionLoop().run(ours, protocol, context)

    with theirs:
        call = Call(run)
        received = bytearray()
        while data := theirs.recv(65536):
            received += data
        call.result()
    return bytes(received)


def unable(*arguments: Any) -> int:
    raise OSError(errno.EINVAL, "not of this file")


@pytest.mark.parametrize("how", ["by the system", "unable", "unknown"])
def test_files_and_bytes_keep_their_order(file: BinaryIO, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "unable":
        monkeypatch.setattr(os, "sendfile", unable)
    elif how == "unknown":
        monkeypatch.setattr(regions, "_HAS_SENDFILE", False)

    def made(transport: Any) -> None:
        transport.write(b"first")
        transport.send_file(file, 0, len(CONTENT), protocol.done())
        transport.write(b"between")
        transport.write(b"them")
        transport.send_file(file, 10, 100, protocol.done())
        transport.send_file(file, 7, 0, protocol.done(close=True))

    protocol = Sends(made)
    assert sent(protocol) == b"first" + CONTENT + b"betweenthem" + CONTENT[10:110]
    assert protocol.calls.count("done") == 3
    assert file.tell() == 0


def test_a_file_counts_as_written_and_is_sent_before_the_end(file: BinaryIO) -> None:
    def made(transport: Any) -> None:
        transport.send_file(file, 0, len(CONTENT), protocol.done())
        transport.close()

    protocol = Sends(made)
    assert sent(protocol) == CONTENT
    (pause, size), *rest = protocol.calls
    assert pause == "pause"
    assert size == len(CONTENT)
    assert [call[0] for call in rest if call != "done"] == ["resume", "lost"]
    assert "done" in rest


def test_the_end_of_what_is_written_comes_after_a_file(file: BinaryIO) -> None:
    def made(transport: Any) -> None:
        transport.send_file(file, 0, len(CONTENT), protocol.done(close=True))
        transport.write_eof()
        with pytest.raises(RuntimeError):
            transport.send_file(file, 0, 1, protocol.done())

    protocol = Sends(made)
    assert sent(protocol) == CONTENT


def test_a_file_that_has_become_shorter_breaks_the_connection(file: BinaryIO) -> None:
    def made(transport: Any) -> None:
        transport.send_file(file, 0, len(CONTENT) + 1, protocol.done())

    protocol = Sends(made)
    with pytest.raises(OSError, match="shorter"):
        sent(protocol)
    assert "done" not in protocol.calls


def test_nothing_is_sent_on_a_connection_that_closes(file: BinaryIO) -> None:
    def made(transport: Any) -> None:
        transport.close()
        transport.send_file(file, 0, 10, protocol.done())

    protocol = Sends(made)
    assert sent(protocol) == b""
    assert protocol.calls == [("lost", None)]


def test_a_connection_that_is_lost_has_no_done(file: BinaryIO) -> None:
    def made(transport: Any) -> None:
        transport.send_file(file, 0, len(CONTENT), lambda: None)  # the system may take all of it at once
        transport.send_file(file, 0, len(CONTENT), protocol.done())
        transport.abort()

    protocol = Sends(made)
    sent(protocol)
    assert "done" not in protocol.calls


def test_in_memory_a_file_is_read(file: BinaryIO) -> None:
    connection = MemoryConnection(Sends(lambda transport: transport.send_file(file, 1, 3, lambda: None)))
    assert connection.received == CONTENT[1:4]
