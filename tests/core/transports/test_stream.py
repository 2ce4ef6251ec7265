"""The transport of connections does what asyncio's does: the same scripts, by both."""

from __future__ import annotations

import array
import asyncio
import socket
import struct
import threading
from typing import Any

import pytest
from clients import read_all
from patience import PATIENCE, Call
from scripts import LARGE, Owner, Script, Start, context_of, read_exactly, seen

from plugport.bridges.pump import ConnectionLoop
from plugport.transports import StreamTransport

# A life ---------------------------------------------------------------------------------------


def test_the_life_of_a_connection(start: Start) -> None:
    session = start(Script())
    session.peer.sendall(b"hello")
    seen(session.protocol, "data")
    session.peer.shutdown(socket.SHUT_WR)
    assert read_all(session.peer) == b""
    assert session.ended() == ["made", "data", "eof", "lost"]
    assert session.protocol.calls[-1] == ("lost", None)


def test_the_end_of_input_may_leave_it_open(start: Start) -> None:
    class Open(Script):
        def eof_received(self) -> bool:
            super().eof_received()
            return True

    session = start(Open())
    session.peer.shutdown(socket.SHUT_WR)
    seen(session.protocol, "eof")
    assert not session.do(session.protocol.transport.is_closing)
    session.do(session.protocol.transport.write, b"still here")
    session.do(session.protocol.transport.close)
    assert read_all(session.peer) == b"still here"
    assert session.ended() == ["made", "eof", "lost"]


def test_a_reset_is_told(start: Start) -> None:
    session = start(Script())
    seen(session.protocol, "made")
    session.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket.close(session.peer)
    assert session.ended() == ["made", "lost"]
    assert isinstance(session.protocol.calls[-1][1], ConnectionResetError)


def test_what_data_received_raises_ends_the_connection(start: Start) -> None:
    class Raises(Script):
        def data_received(self, data: bytes) -> None:
            raise KeyError("broken")

    session = start(Raises())
    session.peer.sendall(b"hello")
    assert session.ended() == ["made", "lost"]
    assert isinstance(session.protocol.calls[-1][1], KeyError)


def test_what_eof_received_raises_ends_the_connection(start: Start) -> None:
    class Raises(Script):
        def eof_received(self) -> None:
            raise KeyError("broken")

    session = start(Raises())
    session.peer.shutdown(socket.SHUT_WR)
    assert session.ended() == ["made", "lost"]
    assert isinstance(session.protocol.calls[-1][1], KeyError)


def test_what_it_tells_of_itself(start: Start) -> None:
    session = start(Script())
    seen(session.protocol, "made")
    transport = session.protocol.transport
    info = transport.get_extra_info
    assert session.do(info, "peername") == session.peer.getsockname()
    assert session.do(info, "sockname") == session.peer.getpeername()
    assert session.do(info, "socket").fileno() >= 0
    assert session.do(info, "cipher") is None
    assert session.do(info, "cipher", "none") == "none"
    assert session.do(transport.get_protocol) is session.protocol
    assert transport.can_write_eof()


def test_another_protocol_takes_over(start: Start) -> None:
    other = Script()

    class Hands(Script):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.set_protocol(other)
            self.transport.write(b"next")

    session = start(Hands())
    session.peer.sendall(b"one")
    assert session.peer.recv(10) == b"next"
    session.peer.sendall(b"two")
    session.peer.shutdown(socket.SHUT_WR)
    assert read_all(session.peer) == b""
    assert other.lost.wait(PATIENCE)
    assert session.protocol.names == ["made", "data"]
    assert other.names == ["data", "eof", "lost"]
    session.protocol.lost.set()


def test_another_protocol_takes_over_what_has_ended(start: Start) -> None:
    session = start(Script())
    seen(session.protocol, "made")
    transport, other = session.protocol.transport, Script()
    other.lost = session.protocol.lost

    def close_and_hand_over() -> None:
        transport.close()
        transport.set_protocol(other)

    session.do(close_and_hand_over)
    assert session.ended() == ["made"]
    assert other.calls == [("lost", None)]


# Reading --------------------------------------------------------------------------------------


def test_reading_is_paused_and_resumed(start: Start) -> None:
    session = start(Script(lambda transport: transport.pause_reading()))
    session.peer.sendall(b"hello")
    transport = session.protocol.transport if session.protocol.names else None
    seen(session.protocol, "made")
    transport = session.protocol.transport
    assert not session.do(transport.is_reading)
    session.do(transport.pause_reading)  # again: no error
    session.do(transport.write, b"one turn of the loop")
    assert session.peer.recv(100)
    assert session.protocol.received == b""
    session.do(transport.resume_reading)
    session.do(transport.resume_reading)
    seen(session.protocol, "data")
    assert session.do(transport.is_reading)
    assert session.protocol.received == b"hello"
    session.do(transport.close)
    assert not session.do(transport.is_reading) if not session.protocol.lost.is_set() else True


def test_pausing_in_the_middle_of_much(start: Start) -> None:
    class Sips(Script):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()
            self.transport.write(b"more?")

    session = start(Sips())
    sender = Call(session.peer.sendall, LARGE[:1000000])
    while len(session.protocol.received) < 1000000:
        assert read_exactly(session.peer, 5) == b"more?"
        count = session.protocol.names.count("data")
        session.do(session.protocol.transport.resume_reading)
        if len(session.protocol.received) < 1000000:
            seen(session.protocol, "data", count + 1)
    sender.result()
    assert session.protocol.received == LARGE[:1000000]


class Buffered(asyncio.BufferedProtocol):
    """Takes data into a small buffer of its own."""

    transport: Any

    def __init__(self) -> None:
        self.names: list[str] = []
        self.received = b""
        self.lost = threading.Event()
        self._buffer = bytearray(1000)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.names.append("made")

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        assert 0 < nbytes <= 1000
        self.received += self._buffer[:nbytes]

    def eof_received(self) -> None:
        self.names.append("eof")

    def connection_lost(self, error: Exception | None) -> None:
        self.names.append("lost")
        self.error = error
        self.lost.set()


def test_a_buffered_protocol(start: Start) -> None:
    session = start(Buffered())
    session.peer.sendall(LARGE[:100000])
    session.peer.shutdown(socket.SHUT_WR)
    assert session.ended() == ["made", "eof", "lost"]
    assert session.protocol.received == LARGE[:100000]
    assert session.protocol.error is None


def test_a_buffered_protocol_without_a_buffer(start: Start) -> None:
    class Empty(Buffered):
        def get_buffer(self, sizehint: int) -> bytearray:
            return bytearray()

    session = start(Empty())
    session.peer.sendall(b"hello")
    assert session.ended() == ["made", "lost"]
    assert isinstance(session.protocol.error, RuntimeError)


# Ends -----------------------------------------------------------------------------------------


def test_close_sends_what_is_unsent(start: Start) -> None:
    def made(transport: Any) -> None:
        transport.write(LARGE)
        transport.close()
        assert transport.is_closing()
        transport.close()
        transport.write(b"no more")

    session = start(Script(made))
    assert read_exactly(session.peer, len(LARGE)) == LARGE
    names = session.ended()
    assert [name for name in names if name not in ("pause", "resume")] == ["made", "lost"]
    assert session.protocol.calls[-1] == ("lost", None)


def test_close_does_not_call_back_at_once(start: Start) -> None:
    within: list[str] = []

    def made(transport: Any) -> None:
        transport.close()
        within.extend(session.protocol.names if session else [])

    session: Any = None
    session = start(Script(made))
    assert session.ended() == ["made", "lost"]
    assert "lost" not in within


def test_abort_drops_what_is_unsent(start: Start) -> None:
    def made(transport: Any) -> None:
        transport.write(LARGE * 4)
        transport.abort()
        assert transport.is_closing()
        transport.abort()

    session = start(Script(made))
    assert session.ended()[-1] == "lost"
    assert session.protocol.calls[-1] == ("lost", None)
    try:
        assert len(read_all(session.peer)) < 4 * len(LARGE)
    except ConnectionResetError:
        pass


def test_abort_after_close(start: Start) -> None:
    def made(transport: Any) -> None:
        transport.write(LARGE * 4)
        transport.close()

    session = start(Script(made))
    seen(session.protocol, "made")
    session.do(session.protocol.transport.abort)
    assert session.ended().count("lost") == 1


def test_a_peer_that_leaves_unsent_data(start: Start) -> None:
    session = start(Script(lambda transport: transport.write(LARGE * 4)))
    assert session.peer.recv(1)
    socket.socket.close(session.peer)
    assert session.ended()[-1] == "lost"
    assert isinstance(session.protocol.calls[-1][1], ConnectionError)


def test_a_peer_that_resets_while_reading_is_paused(start: Start) -> None:
    def made(transport: Any) -> None:
        transport.pause_reading()
        transport.write(LARGE * 4)

    session = start(Script(made))
    assert session.peer.recv(1)
    session.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket.close(session.peer)
    assert session.ended()[-1] == "lost"
    assert isinstance(session.protocol.calls[-1][1], ConnectionError)


# What asyncio's has not -----------------------------------------------------------------------


def test_what_connection_lost_raises_goes_to_the_owner() -> None:
    class Raises(Script):
        def connection_lost(self, error: Exception | None) -> None:
            raise KeyError("broken")

    ours, theirs = socket.socketpair()
    context = context_of(ours)
    theirs.close()
    with ours, pytest.raises(KeyError):
        ConnectionLoop().run(ours, Raises(), context)


def test_a_pump_gives_up_after_the_socket_s_timeout() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.02)
    script = Script()
    with ours, theirs, pytest.raises(TimeoutError):
        ConnectionLoop().run(ours, script, context_of(ours))


def test_any_buffer_can_be_written_whether_or_not_something_is_unsent() -> None:
    numbers = array.array("i", range(1000))

    def made(transport: Any) -> None:
        transport.write(numbers)
        transport.write(LARGE)
        assert transport.get_write_buffer_size()
        transport.write(numbers)
        transport.close()

    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    with ours, theirs:
        call = Call(ConnectionLoop().run, ours, Script(made), context_of(ours))
        received = read_exactly(theirs, len(LARGE) + 8000)
        call.result()
    assert received == numbers.tobytes() + LARGE + numbers.tobytes()


def test_detach_gives_the_socket_away() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        detached = []
        script = Script(lambda transport: detached.append(transport.detach()))
        ConnectionLoop().run(ours, script, context_of(ours))
        assert script.names == ["made", "lost"]
        assert detached == [ours]
        ours.send(b"mine")
        assert theirs.recv(10) == b"mine"


# Pollers --------------------------------------------------------------------------------------


class Ready:
    """A loop without a poll: the test says when the connection is readable."""

    def __init__(self) -> None:
        self.callback: Any = None

    def register(self, fd: int, events: int, callback: Any) -> None:
        self.callback = callback

    modify = register

    def unregister(self, fd: int) -> None:
        """Watch no more."""

    def call_soon(self, callback: Any) -> None:
        callback()


def test_what_comes_at_once_is_one_piece_whatever_came_before() -> None:
    script, loop = Script(), Ready()
    server, peer = socket.socketpair()
    with server, peer:
        server.setblocking(False)
        StreamTransport(loop, server, script, Owner(server), context_of(server)).start()

        def pieces(size: int) -> list[int]:
            """Send so many bytes; return the sizes of the pieces in which they are read."""
            peer.sendall(bytes(size))
            sizes: list[int] = []
            while sum(sizes) < size:
                script.calls.clear()
                loop.callback(1)
                sizes += [len(argument) for name, argument in script.calls if name == "data"]
            return sizes

        assert pieces(2000) == [2000]
        assert [pieces(100) for _ in range(9)] == [[100]] * 9
        assert pieces(2000) == [2000]
        for size in range(470, 490):
            assert [pieces(100) for _ in range(9)] == [[100]] * 9
            assert pieces(size) == [size]
        assert [pieces(100) for _ in range(9)] == [[100]] * 9
        peer.sendall(bytes(479))
        peer.shutdown(socket.SHUT_WR)
        script.calls.clear()
        loop.callback(1)
        loop.callback(1)
        assert [name for name, _ in script.calls] == ["data", "eof", "lost"]
