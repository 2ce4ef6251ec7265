"""The transport of connections does what asyncio's does: the same scripts, by both."""

from __future__ import annotations

import array
import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from clients import Client, read_all
from leaks import Holdings
from patience import PATIENCE, Call, wait_until

from plugport.bridges.pump import Pump
from plugport.contracts.requests import RequestContext
from plugport.loop.loop import ServerLoop
from plugport.loop.poller import SelectorPoller, make_poller
from plugport.transports import DatagramTransport, StreamTransport

LARGE = bytes(range(256)) * 16384


class Script(asyncio.Protocol):
    """Notes what is called: ``calls``, pairs of a method's name and its argument."""

    transport: Any

    def __init__(self, made: Callable[[Any], Any] | None = None) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._made = made
        self.lost = threading.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.calls.append(("made", None))
        if self._made is not None:
            self._made(transport)

    def data_received(self, data: bytes) -> None:
        self.calls.append(("data", data))

    def eof_received(self) -> bool | None:
        self.calls.append(("eof", None))
        return None

    def pause_writing(self) -> None:
        self.calls.append(("pause", None))

    def resume_writing(self) -> None:
        self.calls.append(("resume", None))

    def connection_lost(self, error: Exception | None) -> None:
        self.calls.append(("lost", error))
        self.lost.set()

    @property
    def names(self) -> list[str]:
        """The names of what was called."""
        return [name for name, _ in self.calls]

    @property
    def received(self) -> bytes:
        """The bytes that came."""
        return b"".join(argument for name, argument in self.calls if name == "data")


class Session:
    """A protocol that runs in a thread, and its peer."""

    def __init__(self, protocol: Any, peer: Client, call: Call, in_loop: Callable[..., Any]) -> None:
        self.protocol = protocol
        self.peer = peer
        self._call = call
        self._in_loop = in_loop

    def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call in the thread of the transport, and return what that returns or raises."""
        outcome: list[tuple[Any, BaseException | None]] = []

        def call() -> None:
            try:
                outcome.append((function(*arguments), None))
            except BaseException as error:
                outcome.append((None, error))

        self._in_loop(call)
        [(value, error)] = wait_until(lambda: outcome, what="a call in the loop")
        if error is not None:
            raise error
        return value

    def ended(self) -> list[str]:
        """Wait for the end of the connection; return what was called."""
        assert self.protocol.lost.wait(PATIENCE)
        self._call.join(PATIENCE)
        assert not self._call.is_alive()
        return self.protocol.names

    def abort(self) -> None:
        """End it, if it has not ended."""
        if not self.protocol.lost.is_set():
            wait_until(lambda: self.protocol.names, what="connection_made()")
            self._in_loop(self.protocol.transport.abort)
        self.peer.close()
        self._call.result()


def run_asyncio(sock: Any, protocol: Any) -> tuple[Call, Callable[..., Any]]:
    loop = asyncio.new_event_loop()

    async def main() -> None:
        loop.set_exception_handler(lambda loop, context: None)
        await loop.connect_accepted_socket(lambda: protocol, sock)
        while not protocol.lost.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    return Call(run), loop.call_soon_threadsafe


class Owner:
    """Closes the socket when the transport is lost."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.errors: list[Exception] = []
        self.lost = 0

    def transport_failed(self, transport: Any, error: Exception) -> None:
        self.errors.append(error)

    def transport_lost(self, transport: Any) -> None:
        self.lost += 1
        self.sock.close()


def context_of(sock: Any) -> RequestContext:
    return RequestContext(SimpleNamespace(handler_name="script"), sock, sock.getpeername())


def run_plugport(sock: Any, protocol: Any) -> tuple[Call, Callable[..., Any]]:
    loop = ServerLoop()
    owner = Owner(sock)
    pending: list[Callable[..., Any]] = []

    def in_loop(function: Callable[..., Any]) -> None:
        pending.append(function)
        loop.wake()

    def run() -> None:
        sock.setblocking(False)
        StreamTransport(loop, sock, protocol, owner, context_of(sock)).start()
        while not owner.lost:
            loop.poll(0.01)
            while pending:
                pending.pop(0)()
        loop.close()
        assert owner.lost == 1

    return Call(run), in_loop


RUNNERS = {"asyncio": run_asyncio, "plugport": run_plugport}
Start = Callable[..., Session]


@pytest.fixture(params=RUNNERS)
def start(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Start]:
    """start(protocol) runs it on a connection, by asyncio's transport or plugport's."""
    before = Holdings(tmp_path)
    sessions: list[Session] = []

    def run(protocol: Any) -> Session:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            peer = Client(socket.AF_INET, socket.SOCK_STREAM)
            peer.settimeout(PATIENCE)
            peer.connect(listener.getsockname())
            sock, _ = listener.accept()
        # Small, so that not much can be written before it must wait.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        sessions.append(Session(protocol, peer, *RUNNERS[request.param](sock, protocol)))
        return sessions[-1]

    yield run
    for session in sessions:
        session.abort()
    before.assert_unchanged()


def read_exactly(peer: Client, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (more := peer.recv(count - len(data))):
        data += more
    return bytes(data)


def seen(protocol: Any, name: str, count: int = 1) -> None:
    wait_until(lambda: protocol.names.count(name) >= count, what=f"{count} x {name}")


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


# Writing --------------------------------------------------------------------------------------


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
        Pump().run(ours, Raises(), context)


def test_a_pump_gives_up_after_the_socket_s_timeout() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.02)
    script = Script()
    with ours, theirs, pytest.raises(TimeoutError):
        Pump().run(ours, script, context_of(ours))


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
        call = Call(Pump().run, ours, Script(made), context_of(ours))
        received = read_exactly(theirs, len(LARGE) + 8000)
        call.result()
    assert received == numbers.tobytes() + LARGE + numbers.tobytes()


def test_detach_gives_the_socket_away() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        detached = []
        script = Script(lambda transport: detached.append(transport.detach()))
        Pump().run(ours, script, context_of(ours))
        assert script.names == ["made", "lost"]
        assert detached == [ours]
        ours.send(b"mine")
        assert theirs.recv(10) == b"mine"


# Datagrams ------------------------------------------------------------------------------------


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


# Pollers --------------------------------------------------------------------------------------


make_pollers = pytest.mark.parametrize(
    "make", [make_poller, lambda: SelectorPoller(__import__("selectors").PollSelector())]
)


@make_pollers
def test_pollers(make: Callable[[], Any]) -> None:
    poller = make()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        calls: list[int] = []
        fd = ours.fileno()

        def dispatched(timeout: float) -> list[int]:
            calls.clear()
            assert poller.dispatch(timeout) == len(calls)
            return calls

        poller.register(fd, 1, calls.append)
        with pytest.raises(KeyError):
            poller.register(fd, 1, calls.append)
        assert dispatched(0) == []
        theirs.send(b"x")
        assert dispatched(PATIENCE) == [1]
        poller.modify(fd, 0, calls.append)
        assert dispatched(0) == []
        poller.modify(fd, 3, calls.append)
        assert dispatched(PATIENCE) == [3]
        poller.modify(fd, 2, lambda events: calls.append(-events))
        assert dispatched(PATIENCE) == [-2]
        poller.modify(fd, 0, calls.append)
        poller.unregister(fd)
        poller.unregister(fd)
        assert dispatched(0) == []
        poller.close()


@make_pollers
def test_who_was_unregistered_meanwhile_is_not_called(make: Callable[[], Any]) -> None:
    poller = make()
    pairs = [socket.socketpair() for _ in range(2)]
    calls: list[int] = []

    def end_all(events: int) -> None:
        calls.append(events)
        for ours, _ in pairs:
            poller.unregister(ours.fileno())

    for ours, theirs in pairs:
        poller.register(ours.fileno(), 1, end_all)
        theirs.send(b"x")
    assert poller.dispatch(PATIENCE) == 2
    assert calls == [1]
    poller.close()
    for pair in pairs:
        for end in pair:
            end.close()


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
