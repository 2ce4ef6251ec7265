"""TLSTransport over a transport in memory: whatever way the bytes come, the same comes out."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest
from certificates import authority
from hypothesis import given, settings
from hypothesis import strategies as st

from plugport.bridges.tls.layer import TLSTransport


class Below:
    """A transport that keeps what is written, and a loop of its own."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.sizes: list[int] = []
        self.reading = True
        self.closed = ""
        self.timers: list[Timer] = []
        self.soon: list[Callable[[], object]] = []
        self.limits: tuple[Any, Any] = (None, None)

    def write(self, data: bytes) -> None:
        self.written += data
        self.sizes.append(len(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closed = self.closed or "closed"

    def abort(self) -> None:
        self.closed = self.closed or "aborted"

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        self.timers.append(Timer(seconds, callback))
        return self.timers[-1]

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.soon.append(callback)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = high, low

    def get_write_buffer_limits(self) -> tuple[Any, Any]:
        return self.limits

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.1", 7)}.get(name, default)

    def run_soon(self) -> None:
        while self.soon:
            self.soon.pop(0)()


class Timer:
    def __init__(self, seconds: float, callback: Callable[[], object]) -> None:
        self.seconds, self.callback, self.cancelled = seconds, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class Protocol:
    """Notes what it is told."""

    def __init__(self, keep_open: bool = False) -> None:
        self.received = bytearray()
        self.pieces = 0
        self.events: list[Any] = []
        self.keep_open = keep_open
        self.transport: Any = None
        self.when_received: Callable[[], object] = lambda: None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.pieces += 1
        self.when_received()

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append(("lost", error))


class Buffered(Protocol):
    """The same with a buffer of its own, which is small."""

    def __init__(self, size: int = 1000) -> None:
        super().__init__()
        self.buffer = bytearray(size)

    def get_buffer(self, hint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.data_received(bytes(self.buffer[:count]))


class Pair:
    """A client in memory, and the layer that it talks to."""

    def __init__(self, protocol: Any = None, *, version: ssl.TLSVersion | None = None) -> None:
        self.protocol = protocol or Protocol()
        self.failures: list[Exception] = []
        self.below = Below()
        self.made = 0
        self.layer = TLSTransport(self._make, server_context(), 7.0, self.failures.append)
        context = authority().client()
        if version is not None:
            context.maximum_version = version
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.layer.connection_made(self.below)

    def _make(self) -> Any:
        self.made += 1
        return self.protocol

    def take(self) -> None:
        """Have the client take what was written."""
        data, self.below.written = bytes(self.below.written), bytearray()
        if data:
            self.incoming.write(data)

    def give(self, sizes: list[int] | None = None) -> None:
        """Give the layer what the client has to send, in pieces of those sizes, and the rest."""
        data = self.outgoing.read()
        for size in sizes or []:
            if data:
                self.layer.data_received(data[:size])
                data = data[size:]
        if data:
            self.layer.data_received(data)

    def do_handshake(self, sizes: list[int] | None = None) -> None:
        for _ in range(10):
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                self.give(sizes)
                self.take()
                continue
            self.give(sizes)
            self.take()
            return
        raise AssertionError("the handshake does not end")

    def send(self, data: bytes) -> None:
        self.client.write(data)
        self.give()

    def read(self) -> bytes:
        """What the client gets, as far as it has come."""
        self.take()
        received = bytearray()
        try:
            while data := self.client.read(65536):
                received += data
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return bytes(received)


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority_leaf().configure_cert(context)
    return context


def authority_leaf(leaves: list[Any] = []) -> Any:  # noqa: B006  made once
    if not leaves:
        leaves.append(authority().issue("localhost"))
    return leaves[0]


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_protocol_begins_after_the_handshake(version: ssl.TLSVersion) -> None:
    pair = Pair(version=version)
    assert pair.below.timers[0].seconds == 7.0
    assert (pair.made, pair.protocol.events) == (0, [])
    pair.do_handshake()
    assert (pair.made, pair.protocol.events) == (1, ["made"])
    assert pair.below.timers[0].cancelled
    pair.send(b"hello")
    assert pair.protocol.received == b"hello"
    pair.protocol.transport.write(b"world")
    assert pair.read() == b"world"
    assert not pair.failures


@given(
    st.lists(st.integers(1, 3000), max_size=30),
    st.lists(st.binary(max_size=40_000), max_size=6),
    st.lists(st.integers(1, 20_000), max_size=40),
    st.sampled_from(VERSIONS),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_any_split_of_the_bytes_gives_the_same(
    handshake: list[int], messages: list[bytes], sizes: list[int], version: ssl.TLSVersion, buffered: bool
) -> None:
    pair = Pair(Buffered() if buffered else Protocol(), version=version)
    pair.do_handshake(handshake)
    for message in messages:
        if message:
            pair.client.write(message)
    pair.give(sizes)
    assert pair.protocol.received == b"".join(messages)
    for message in messages:
        pair.protocol.transport.write(message)
    assert pair.read() == b"".join(messages)
    assert not pair.failures


def test_a_large_write_is_encrypted_in_parts() -> None:
    pair = Pair()
    pair.do_handshake()
    del pair.below.sizes[:]
    data = bytes(range(256)) * 8192
    pair.protocol.transport.write(memoryview(data))
    assert max(pair.below.sizes) < 300_000
    assert pair.read() == data


def test_writelines_and_what_is_no_bytes() -> None:
    pair = Pair()
    pair.do_handshake()
    pair.protocol.transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
    pair.protocol.transport.write(b"")
    assert pair.read() == b"abc"
    with pytest.raises(TypeError):
        pair.protocol.transport.write("text")


# Reading in pieces ----------------------------------------------------------------------------


def test_pause_reading_pauses_below_and_nothing_is_lost() -> None:
    pair = Pair(Buffered(100))
    pair.do_handshake()
    transport = pair.protocol.transport
    pair.protocol.when_received = transport.pause_reading
    pair.send(bytes(range(250)))
    assert (pair.protocol.received, pair.below.reading) == (bytes(range(100)), False)
    assert not transport.is_reading()
    transport.resume_reading()
    pair.below.run_soon()
    assert (pair.protocol.received, pair.below.reading) == (bytes(range(200)), False)
    pair.protocol.when_received = lambda: None
    transport.resume_reading()
    pair.below.run_soon()
    assert (pair.protocol.received, pair.below.reading) == (bytes(range(250)), True)


def test_what_comes_while_it_pauses_waits() -> None:
    pair = Pair()
    pair.do_handshake()
    pair.protocol.transport.pause_reading()
    pair.send(b"late")
    assert pair.protocol.received == b""
    pair.protocol.transport.resume_reading()
    pair.below.run_soon()
    assert pair.protocol.received == b"late"


def test_set_protocol_in_the_middle_of_a_record() -> None:
    pair = Pair(Buffered(4))
    pair.do_handshake()
    second = Protocol()
    pair.protocol.when_received = lambda: pair.layer.set_protocol(second)
    pair.send(b"headbody")
    assert (pair.protocol.received, second.received) == (b"head", b"body")
    assert pair.layer.get_protocol() is second


def test_pause_writing_comes_from_below() -> None:
    pair = Pair()
    pair.layer.pause_writing()  # in the handshake, nobody is there to hear
    pair.layer.resume_writing()
    pair.do_handshake()
    pair.layer.pause_writing()
    pair.layer.resume_writing()
    assert pair.protocol.events == ["made", "pause", "resume"]
    pair.protocol.transport.set_write_buffer_limits(high=10, low=1)
    assert pair.below.limits == pair.layer.get_write_buffer_limits() == (10, 1)


# The end --------------------------------------------------------------------------------------


def client_ends(pair: Pair) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    pair.give()


@pytest.mark.parametrize("version", VERSIONS)
def test_close_sends_close_notify(version: ssl.TLSVersion) -> None:
    pair = Pair(version=version)
    pair.do_handshake()
    pair.protocol.transport.write(b"goodbye")
    pair.protocol.transport.close()
    assert pair.protocol.transport.is_closing()
    assert pair.below.closed == "closed"
    pair.protocol.transport.write(b"too late")
    assert pair.read() == b"goodbye"
    assert pair.client.read(10) == b""  # and not SSLWantReadError: there was close_notify
    pair.layer.connection_lost(None)
    assert pair.protocol.events[-1] == ("lost", None)


def test_the_clients_close_notify_is_the_end() -> None:
    pair = Pair()
    pair.do_handshake()
    pair.client.write(b"last words")
    client_ends(pair)
    assert pair.protocol.received == b"last words"
    assert pair.protocol.events == ["made", "eof"]
    assert pair.below.closed == "closed"


def test_a_protocol_may_answer_after_the_clients_end() -> None:
    pair = Pair(Protocol(keep_open=True))
    pair.do_handshake()
    client_ends(pair)
    assert pair.protocol.events == ["made", "eof"]
    assert not pair.below.closed
    pair.layer.data_received(b"what nobody may believe")
    pair.protocol.transport.write(b"an answer")
    assert pair.layer.eof_received() is True  # the connection's end adds nothing
    assert pair.protocol.received == b""
    pair.protocol.transport.close()
    assert pair.protocol.events == ["made", "eof"]
    assert pair.read() == b"an answer"


@pytest.mark.parametrize("keep_open", [True, False])
def test_the_connections_end_is_one_too(keep_open: bool) -> None:
    pair = Pair(Protocol(keep_open=keep_open))
    pair.do_handshake()
    assert pair.layer.eof_received() is keep_open
    assert pair.protocol.events == ["made", "eof"]
    assert pair.below.closed == ("" if keep_open else "closed")


def test_write_eof_ends_what_is_sent_and_no_more() -> None:
    pair = Pair()
    pair.do_handshake()
    transport = pair.protocol.transport
    assert not transport.can_write_eof()
    pair.client.write(b"unread")
    transport.pause_reading()
    pair.give()  # it is there when close_notify is sent, and must not be taken for the client's
    transport.write(b"all")
    transport.write_eof()
    with pytest.raises(RuntimeError):
        transport.write(b"more")
    assert pair.read() == b"all"
    transport.resume_reading()
    pair.below.run_soon()
    pair.send(b", and more")
    assert pair.protocol.received == b"unread, and more"
    assert not pair.failures


class EndsAtOnce(Buffered):
    """Ends its side with the first bytes, amid what has been decrypted."""

    def buffer_updated(self, count: int) -> None:
        super().buffer_updated(count)
        self.transport.write_eof()


def test_write_eof_amid_what_is_decrypted() -> None:
    pair = Pair(EndsAtOnce(10))
    pair.do_handshake()
    pair.send(b"x" * 95)
    pair.send(b"more")
    assert pair.protocol.received == b"x" * 95 + b"more"
    assert not pair.failures


def test_abort_says_nothing() -> None:
    pair = Pair()
    pair.do_handshake()
    del pair.below.written[:]
    pair.protocol.transport.abort()
    assert (pair.below.closed, pair.below.written) == ("aborted", b"")


# Failures -------------------------------------------------------------------------------------


def test_a_handshake_that_takes_too_long() -> None:
    pair = Pair()
    pair.below.timers[0].callback()
    assert [str(error) for error in pair.failures] == [
        "the TLS handshake took longer than handshake_timeout = 7 s"
    ]
    assert isinstance(pair.failures[0], TimeoutError)
    assert (pair.below.closed, pair.made) == ("aborted", 0)


def test_what_is_no_handshake() -> None:
    pair = Pair()
    pair.layer.data_received(b"GET / HTTP/1.0\r\n\r\n")
    (error,) = pair.failures
    assert isinstance(error, ConnectionAbortedError)
    assert "the TLS handshake failed: http request" in str(error)
    assert (pair.below.closed, pair.made) == ("aborted", 0)
    pair.layer.connection_lost(None)
    assert pair.below.timers[0].cancelled


def test_a_client_that_leaves_in_the_handshake() -> None:
    pair = Pair()
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.do_handshake()
    pair.give()
    assert not pair.layer.eof_received()
    assert isinstance(pair.failures[0], ConnectionAbortedError)
    assert pair.made == 0


def test_a_client_that_does_not_trust_the_certificate() -> None:
    pair = Pair()
    context = ssl.create_default_context()
    pair.client = context.wrap_bio(pair.incoming, pair.outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        pair.do_handshake()
    pair.give()
    assert "unknown ca" in str(pair.failures[0])


def test_garbage_after_the_handshake_aborts_the_connection() -> None:
    pair = Pair()
    pair.do_handshake()
    pair.client.write(b"before")
    good = pair.outgoing.read()
    pair.layer.data_received(good + b"\x17\x03\x03\x00\x20" + bytes(32))
    assert pair.protocol.received == b"before"
    (error,) = pair.failures
    assert isinstance(error, ConnectionAbortedError)
    assert str(error).startswith("the TLS connection broke: ")
    assert pair.below.closed == "aborted"
    pair.layer.connection_lost(None)
    assert pair.protocol.events[-1] == ("lost", error)


@pytest.mark.parametrize("method", ["connection_made", "data_received", "eof_received", "pause_writing"])
def test_what_the_protocol_raises_ends_the_connection(method: str) -> None:
    pair = Pair()
    error = ValueError("no")

    def fail(*args: Any) -> None:
        raise error

    setattr(pair.protocol, method, fail)
    pair.do_handshake()
    if not pair.failures:
        pair.send(b"hello")
        pair.layer.pause_writing()
    if not pair.failures:
        pair.layer.eof_received()
    assert pair.failures == [error]
    assert pair.below.closed == "aborted"
    pair.layer.connection_lost(None)
    assert pair.protocol.events[-1] == ("lost", error)


def test_a_buffer_without_room() -> None:
    pair = Pair(Buffered(0))
    pair.do_handshake()
    pair.send(b"hello")
    assert "empty buffer" in str(pair.failures[0])


# What it tells --------------------------------------------------------------------------------


def test_extra_info() -> None:
    pair = Pair()
    pair.do_handshake()
    transport = pair.protocol.transport
    ssl_object = transport.get_extra_info("ssl_object")
    assert ssl_object.version() == "TLSv1.3"
    assert transport.get_extra_info("sslcontext") is ssl_object.context
    assert transport.get_extra_info("peercert") is None
    assert transport.get_extra_info("cipher") == ssl_object.cipher()
    assert transport.get_extra_info("compression") is None
    assert transport.get_extra_info("peername") == ("192.0.2.1", 7)
    assert transport.get_extra_info("nothing", 1) == 1
    with pytest.raises(OSError, match="can't be detached"):
        transport.detach()
