"""Handlers in memory do what they do over sockets, and what asyncio says of transports holds."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugport import BaseRequestHandler, StreamRequestHandler
from plugport.errors import IncompatibleError, OptionError, TargetError
from plugport.handlers.framing import DelimiterFraming, FramingError
from plugport.handlers.messages import MessageHandler
from plugport_testing.memory import MemoryConnection, MemoryEndpoint, MemoryServer, MemoryTransport, connect
from plugport_testing.served import ServedService
from plugport_testing.serving import serve


class Script(asyncio.Protocol):
    """Notes what is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.calls.append(("made", transport))

    def data_received(self, data: bytes) -> None:
        self.calls.append(("data", data))

    def eof_received(self) -> bool | None:
        self.calls.append(("eof", None))
        return False

    def pause_writing(self) -> None:
        self.calls.append(("pause", None))

    def resume_writing(self) -> None:
        self.calls.append(("resume", None))

    def connection_lost(self, error: Exception | None) -> None:
        self.calls.append(("lost", error))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


class HalfOpen(Script):
    def eof_received(self) -> bool | None:
        super().eof_received()
        return True


class Reversed(asyncio.Protocol):
    """Answers each piece up to a full stop, the wrong way round."""

    rest = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *sentences, self.rest = (self.rest + data).split(b".")
        for sentence in sentences:
            self.transport.write(sentence[::-1] + b".")

    def eof_received(self) -> None:
        self.transport.write(self.rest[::-1])


class Buffered(asyncio.BufferedProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer = bytearray(7)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(self.buffer[:nbytes].swapcase())


def upper(message: bytes) -> bytes | None:
    return None if message.startswith(b"-") else message.upper()


class Numbered(MessageHandler):
    framing = "netstring"
    count = 0

    def respond(self, message: bytes) -> bytes:
        self.count += 1
        return b"%d %s" % (self.count, message)


class Lines(StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(b"<" + line + b">")


class Greedy(BaseRequestHandler):
    """Reads in pieces of three."""

    def handle(self) -> None:
        while data := self.request.recv(3):
            self.request.sendall(data + b"|" if len(data) == 3 else data)


# As over sockets --------------------------------------------------------------------------------

text = st.lists(st.sampled_from([b"a", b"B", b"\n", b"\r\n", b".", b"-x"]), max_size=30).map(b"".join)
netstrings = st.lists(st.binary(max_size=5).map(lambda one: b"%d:%s," % (len(one), one)), max_size=8).map(
    b"".join
)


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return (data[start:end] for start, end in pairwise(edges))


@contextmanager
def served(handler: Any) -> Iterator[ServedService]:
    service = serve(handler, "tcp", "select")
    try:
        yield service
    finally:
        service.stop()


@pytest.mark.parametrize(
    ("handler", "inputs"),
    [(Reversed, text), (Buffered, text), (upper, text), (Numbered, netstrings), (Lines, text)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_any_split_is_answered_as_over_sockets(handler: Any, inputs: st.SearchStrategy[bytes]) -> None:
    with served(handler) as service:

        @given(inputs, st.lists(st.integers(min_value=0), max_size=10))
        @settings(max_examples=40, deadline=None, database=None)
        def check(data: bytes, cuts: list[int]) -> None:
            with MemoryConnection(handler) as connection:
                for piece in pieces(data, cuts):
                    connection.feed(piece)
                connection.eof()
                assert connection.received == service.exchange(data)
                assert connection.closed
                assert connection.context.outcome == "completed"

        check()


@given(st.binary(max_size=200))
@settings(max_examples=40, deadline=None, database=None)
def test_datagrams_are_answered_as_over_sockets(data: bytes) -> None:
    assert MemoryEndpoint(upper).ask(data) == upper(data)


def test_a_datagram_of_a_real_socket_is_answered_the_same(plugport_serve: Any) -> None:
    service = plugport_serve(upper, "udp", "select")
    endpoint = MemoryEndpoint(upper)
    for data in (b"hello", b"", b"x\n" * 100):
        assert service.exchange(data) == endpoint.ask(data)


# As asyncio says --------------------------------------------------------------------------------


def test_a_connection_s_life() -> None:
    connection = connect(Script)
    script = connection.protocol
    assert isinstance(connection.transport, MemoryTransport)
    assert script.calls == [("made", connection.transport)]
    connection.feed(b"one")
    connection.feed(b"two")
    assert script.calls[1:] == [("data", b"one"), ("data", b"two")]
    assert not connection.closed
    connection.eof()
    assert script.calls[3:] == [("eof", None), ("lost", None)]
    assert connection.closed
    assert connection.transport.is_closing()


def test_a_protocol_may_be_an_object() -> None:
    script = Script()
    connection = connect(script)
    assert connection.protocol is script
    connection.close()
    assert script.names == ["made", "eof", "lost"]
    connection.close()
    assert script.names == ["made", "eof", "lost"]


def test_eof_may_leave_the_connection_open() -> None:
    connection = connect(HalfOpen)
    connection.eof()
    assert not connection.closed
    connection.transport.write(b"late")
    connection.transport.close()
    assert connection.take() == b"late"
    assert connection.closed


def test_write_eof_ends_one_side() -> None:
    connection = connect(Script)
    connection.transport.write(b"last")
    connection.transport.write_eof()
    assert (connection.ended, connection.closed) == (True, False)
    with pytest.raises(RuntimeError, match="write_eof"):
        connection.transport.write(b"more")
    connection.feed(b"still read")
    assert connection.protocol.calls[-1] == ("data", b"still read")


def test_writing_is_paused_while_the_client_takes_nothing() -> None:
    connection = connect(Script, room=10)
    script, transport = connection.protocol, connection.transport
    transport.write(b"x" * 10)
    assert transport.get_write_buffer_size() == 0
    transport.write(b"y" * 65536)
    assert "pause" not in script.names
    transport.write(b"z")
    assert script.names[-1] == "pause"
    assert transport.get_write_buffer_size() == 65537
    assert transport.written == b"x" * 10 + b"y" * 65536 + b"z"
    assert connection.received == b"x" * 10
    assert len(connection.take(40000)) == 40010  # with those that had come before
    assert script.names[-1] == "pause"
    connection.take()
    assert script.names[-1] == "resume"
    assert transport.get_write_buffer_size() == 0


def test_close_sends_what_is_unsent_and_abort_does_not() -> None:
    for end, expected in (("close", b"unsent"), ("abort", b"")):
        connection = connect(Script, room=0)
        connection.transport.write(b"unsent")
        getattr(connection.transport, end)()
        assert connection.transport.is_closing()
        assert connection.take() == expected
        assert connection.protocol.calls[-1] == ("lost", None)


def test_reading_can_be_paused() -> None:
    connection = connect(Script)
    connection.transport.pause_reading()
    connection.feed(b"one")
    connection.feed(b"two")
    assert connection.protocol.names == ["made"]
    connection.transport.resume_reading()
    connection.feed(b"")
    assert connection.protocol.calls[1:] == [("data", b"onetwo")]


@pytest.mark.parametrize("paused", [False, True])
def test_a_reset(paused: bool) -> None:
    connection = connect(Script)
    if paused:
        connection.transport.pause_reading()
    connection.reset()
    name, error = connection.protocol.calls[-1]
    assert name == "lost"
    assert isinstance(error, ConnectionResetError)
    assert connection.context.outcome == "aborted"


def test_feed_after_the_end() -> None:
    connection = connect(HalfOpen)
    connection.eof()
    with pytest.raises(ValueError, match="after eof"):
        connection.feed(b"more")
    connection.transport.close()
    assert connection.feed(b"to no effect") == b""


def test_extra_info_of_the_transport() -> None:
    connection = connect(Script, client_address=("192.0.2.1", 7))
    assert connection.transport.get_extra_info("peername") == ("192.0.2.1", 7)
    assert connection.transport.get_extra_info("nothing", 5) == 5
    with pytest.raises(OSError, match="no descriptor"):
        connection.transport.get_extra_info("socket").detach()


class Dots(DelimiterFraming):
    dots: int = 1

    def __init__(self, max_message_size: int, dots: int) -> None:
        super().__init__(max_message_size, b"." * dots)


# Messages ---------------------------------------------------------------------------------------


def test_ask() -> None:
    connection = MemoryConnection(Numbered)
    assert [connection.ask(b"a"), connection.ask(b"")] == [b"1 a", b"2 "]
    assert connection.feed(b"1:x,1:") == b"3:3 x,"
    connection = MemoryConnection(upper)
    assert connection.ask(b"hello") == b"HELLO"
    assert connection.ask(b"-hello") is None
    with pytest.raises(FramingError, match="LF"):
        connection.ask(b"two\nlines")
    with pytest.raises(IncompatibleError, match="feed"):
        connect(Script).ask(b"hello")


def test_options() -> None:
    connection = MemoryConnection(upper, framing="length-prefixed", prefix_size=1, max_message_size=5)
    assert connection.feed(b"\2ab\5cde") == b"\2AB"
    assert connection.feed(b"fg\1") == b"\5CDEFG"
    with pytest.raises(FramingError, match="longer than 5"):
        connection.feed(b"x" * 200)
    assert connection.closed
    assert connection.context.outcome == "failed"
    with pytest.raises(OptionError, match="framing"):
        MemoryConnection(upper, framing="morse")
    assert MemoryConnection(upper, framing=Dots).ask(b"a") == b"A"
    assert MemoryConnection(upper, framing=Dots, dots=2).feed(b"a.b..") == b"A.B.."
    with pytest.raises(OptionError, match="a name or a class, got 5"):
        MemoryConnection(upper, framing=5)
    with pytest.raises(OptionError, match="did you mean 'framing'"):
        MemoryConnection(Numbered, framin="lines")


def test_the_replies_wait_for_the_client() -> None:
    asked = 0

    def double(message: bytes) -> bytes:
        nonlocal asked
        asked += 1
        return message * 2

    connection = MemoryConnection(double, room=0)
    connection.feed(b"x" * 30000 + b"\n")
    connection.feed(b"x" * 30000 + b"\n")
    assert (asked, connection.transport.is_reading()) == (2, False)
    connection.feed(b"y\n")
    assert asked == 2
    assert connection.take().endswith(b"x\nyy\n")
    assert asked == 3


# Other handlers ---------------------------------------------------------------------------------


def test_a_blocking_handler() -> None:
    with connect(Greedy) as connection:
        assert connection.feed(b"ab") == b"ab"
        assert connection.feed(b"cdefg") == b"cde|fg"
        assert not connection.closed
    assert connection.closed


def test_a_timeout_takes_no_time() -> None:
    class Impatient(StreamRequestHandler):
        timeout = 3600

        def handle(self) -> None:
            try:
                self.rfile.readline()
            except TimeoutError:
                self.wfile.write(b"too late")

    connection = connect(Impatient)
    assert connection.advance(3599) == b""
    assert not connection.closed
    assert connection.advance(1) == b"too late"
    assert connection.closed


def test_state_is_shared_by_connections_of_one_server() -> None:
    class Counter(MessageHandler):
        shared_state = True

        def respond(self, message: bytes) -> bytes:
            with self.server.lock:
                self.server.state.count = getattr(self.server.state, "count", 0) + 1
                return b"%d" % self.server.state.count

    server = MemoryServer()
    first, second = (MemoryConnection(Counter, server=server) for _ in range(2))
    assert [first.ask(b""), second.ask(b""), MemoryConnection(Counter).ask(b"")] == [b"1", b"2", b"1"]
    assert len(server.active_requests) == 2
    first.close()
    assert list(server.active_requests.values()) == [second.context]


@pytest.mark.parametrize("style", ["protocol", "blocking", "message"])
def test_what_a_handler_raises_is_raised(style: str) -> None:
    class Protocol(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            raise LookupError("no such thing")

    class Blocking(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)
            raise LookupError("no such thing")

    def message(message: bytes) -> bytes:
        raise LookupError("no such thing")

    connection = connect({"protocol": Protocol, "blocking": Blocking, "message": message}[style])
    with pytest.raises(LookupError, match="no such thing"):
        connection.feed(b"a\n")
    assert connection.closed
    assert connection.context.outcome == "failed"
    assert connection.feed(b"b\n") == b""


def test_errors_in_connection_made_and_connection_lost() -> None:
    class Early(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            raise LookupError("early")

    class Late(asyncio.Protocol):
        def connection_lost(self, error: Exception | None) -> None:
            raise LookupError("late")

    with pytest.raises(LookupError, match="early"):
        connect(Early)
    connection = connect(Late)
    with pytest.raises(LookupError, match="late"):
        connection.close()
    with pytest.raises(LookupError, match="late"):
        connect(Late).reset()


def test_handlers_that_can_not_run_in_memory() -> None:
    async def talk(reader: Any, writer: Any) -> None: ...

    async def answer(message: bytes, reply: Any) -> None: ...

    with pytest.raises(IncompatibleError, match="talk needs an event loop"):
        connect(talk)
    with pytest.raises(IncompatibleError, match="answer needs an event loop"):
        connect(answer)
    with pytest.raises(IncompatibleError, match="Lines serves no datagrams"):
        MemoryEndpoint(Lines)
    with pytest.raises(IncompatibleError, match="Answers serves no connections"):
        MemoryConnection(Answers)
    with pytest.raises(TargetError, match="no handler"):
        connect(5)


def test_nothing_is_left_of_a_handler_that_waits() -> None:
    connect(Greedy).feed(b"ab")
    gc.collect()  # its greenlet is ended by that, in silence


# Datagrams --------------------------------------------------------------------------------------


class Answers(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.lost = 0

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data == b"raise":
            raise LookupError("no such thing")
        for _ in range(int(data)):
            self.transport.sendto(data, addr)
        self.transport.sendto(b"copy", ("192.0.2.9", 9))

    def connection_lost(self, error: Exception | None) -> None:
        self.lost += 1


def test_datagrams() -> None:
    with connect(Answers) as endpoint:
        assert isinstance(endpoint, MemoryEndpoint)
        assert endpoint.feed(b"2", "there") == [(b"2", "there")] * 2 + [(b"copy", ("192.0.2.9", 9))]
        assert endpoint.ask(b"1") == b"1"
        assert endpoint.ask(b"0") is None
        with pytest.raises(LookupError, match="no such thing"):
            endpoint.feed(b"raise")
        assert endpoint.ask(b"1") == b"1"
        assert endpoint.server.active_requests == {}
    assert endpoint.protocol.lost == 1


def test_datagrams_of_a_blocking_handler() -> None:
    class Echo(BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            sock.sendto(data, self.client_address)

    assert MemoryEndpoint(Echo).ask(b"hello", ("192.0.2.1", 5)) == b"hello"
