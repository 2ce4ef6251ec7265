"""The server tls under every strategy: what its handlers see, and who can't stall it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import resource
import select
import socket
import ssl
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from socketserver import StreamRequestHandler
from typing import Any

import pytest
from certificates import authority
from patience import PATIENCE, wait_until

from plugport import BaseRequestHandler
from plugport.errors import OptionError, TargetError
from plugport_testing.serving import serve

STRATEGIES = ("sync", "threading", "thread-pool", "forking", "select", "asyncio")


# The handlers: lines in, capitals out ------------------------------------------------------------


class BlockingLines(StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


class ProtocolLines(asyncio.Protocol):
    _rest = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            self._transport.write(b"\n".join(lines).upper() + b"\n")

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()


class BufferedLines(asyncio.BufferedProtocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._buffer = bytearray(5000)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._transport.write(self._buffer[:nbytes].upper())

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()


class SlottedLines(asyncio.BufferedProtocol):
    """The same, which takes no attributes."""

    __slots__ = ("_buffer", "_transport")

    connection_made = BufferedLines.connection_made
    get_buffer = BufferedLines.get_buffer
    buffer_updated = BufferedLines.buffer_updated
    pause_writing = BufferedLines.pause_writing
    resume_writing = BufferedLines.resume_writing


async def async_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()


def capitals(message: bytes) -> bytes:
    return message.upper()


HANDLERS = {
    "blocking": BlockingLines,
    "protocol": ProtocolLines,
    "buffered": BufferedLines,
    "slotted": SlottedLines,
    "async": async_lines,
    "message": capitals,
}
CELLS = [
    (style, strategy)
    for style in HANDLERS
    for strategy in STRATEGIES
    if (style, strategy) != ("async", "select")
]


@pytest.fixture
def certfile(tmp_path: Path) -> Path:
    return authority().write(tmp_path / "certificate.pem")


@pytest.fixture
def start(certfile: Path, no_leaks: None) -> Iterator[Callable[..., Any]]:
    """start(handler, strategy, **options) serves over TLS until the end of the test."""
    with contextlib.ExitStack() as stack:

        def start(handler: Any, strategy: str = "threading", **options: Any) -> Any:
            options = {"certfile": str(certfile), **options}
            served = serve(handler, "tls://127.0.0.1:0", strategy, options=options)
            stack.callback(served.stop)
            return served

        yield start


def connect(served: Any, **kwargs: Any) -> ssl.SSLSocket:
    return authority().connect(served.address, **kwargs)


def exchange(client: ssl.SSLSocket, data: bytes, pause: float = 0.0) -> bytes:
    """Send, and read as much as was sent; one thread, for OpenSSL wants it so."""
    client.setblocking(False)
    received, rest = bytearray(), memoryview(data)
    poll = select.poll()
    poll.register(client)
    while len(received) < len(data):
        poll.modify(client, select.POLLIN | (select.POLLOUT if rest else 0))
        assert poll.poll(PATIENCE * 1000), f"{len(received)} have come, {len(rest)} are to be sent"
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            rest = rest[client.send(rest) :] if rest else rest
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            piece = client.recv(16384)
            assert piece, "the connection ends before the answer"
            received += piece
        if pause and not rest:
            time.sleep(pause)
            pause = 0.0
    client.settimeout(PATIENCE)
    return bytes(received)


def outcomes(served: Any, count: int = 1) -> list[str]:
    served.wait_for_event("request_finished", count=count)
    return [event.arguments["context"].outcome for event in served.events if event.hook == "request_finished"]


# Every style under every strategy ----------------------------------------------------------------


@pytest.mark.parametrize(("style", "strategy"), CELLS, ids=map("-".join, CELLS))
def test_lines(style: str, strategy: str, start: Callable[..., Any]) -> None:
    served = start(HANDLERS[style], strategy)
    with connect(served) as client:
        assert exchange(client, b"hello\n") == b"HELLO\n"
        assert exchange(client, b"again\nand again\n") == b"AGAIN\nAND AGAIN\n"
        client.unwrap()  # which waits for the server's close_notify
    much = b"".join(b"%d %b\n" % (number, 999 * b"bottles ") for number in range(250))
    with connect(served, context=authority().client(maximum_version=ssl.TLSVersion.TLSv1_2)) as client:
        assert exchange(client, much, pause=0.05) == much.upper()
        client.unwrap()
    assert outcomes(served, 2) == ["completed", "completed"]


class Switches(ProtocolLines):
    """Leaves all but the first line to another."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        other = BufferedLines()
        other.connection_made(self._transport)
        self._transport.set_protocol(other)


@pytest.mark.parametrize("strategy", ["select", "asyncio"])
def test_a_protocol_that_is_switched_to_has_its_buffer_filled(
    strategy: str, start: Callable[..., Any]
) -> None:
    served = start(Switches, strategy)
    much = b"".join(b"%d %b\n" % (number, 99 * b"bottles ") for number in range(250))
    with connect(served) as client:
        assert exchange(client, b"hello\n") == b"HELLO\n"
        assert exchange(client, much) == much.upper()


class LongAnswer(BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(bytes(4_000_000))


class LongAnswerProtocol(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(bytes(4_000_000))
        transport.close()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("handler", [LongAnswer, LongAnswerProtocol])
def test_a_slow_reader_gets_all_and_close_notify(
    handler: Any, strategy: str, start: Callable[..., Any]
) -> None:
    served = start(handler, strategy)
    with connect(served) as client:
        count = len(client.recv(1000))
        time.sleep(0.1)
        while data := client.recv(65536):  # an end that is not told would raise
            count += len(data)
    assert count == 4_000_000
    assert outcomes(served) == ["completed"]


class AnswerAtTheEnd(BaseRequestHandler):
    def handle(self) -> None:
        count = 0
        while data := self.request.recv(65536):
            count += len(data)
        self.request.sendall(b"%d" % count)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_client_that_ends_its_side_is_answered(strategy: str, start: Callable[..., Any]) -> None:
    served = start(AnswerAtTheEnd, strategy)
    with connect(served) as client:
        client.sendall(bytes(100_000))
        client.shutdown(socket.SHUT_WR)  # of the connection: no close_notify
        assert client.recv(100) == b"100000"
        assert client.recv(100) == b""


class EndsItsSide(BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"a question")
        self.request.shutdown(socket.SHUT_WR)
        assert self.request.recv(100) == b"an answer"
        with contextlib.suppress(BrokenPipeError):
            self.request.send(b"x")
            raise AssertionError("it sends after the end")


class ShutsDownLate(BaseRequestHandler):
    def handle(self) -> None:
        self.request.close()
        with contextlib.suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)
            raise AssertionError("it is closed")


def test_shutdown_after_close_is_an_os_error(start: Callable[..., Any]) -> None:
    served = start(ShutsDownLate, "threading")
    with connect(served):
        assert outcomes(served) == ["completed"]


class EndsItsSideUnread(BaseRequestHandler):
    def handle(self) -> None:
        assert self.request.recv(3) == b"one"
        self.request.sendall(b"answer")
        self.request.shutdown(socket.SHUT_WR)
        rest = b""
        while data := self.request.recv(100):
            rest += data
        assert rest == b"two", rest


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_handler_that_ends_its_side_reads_what_has_come(strategy: str, start: Callable[..., Any]) -> None:
    served = start(EndsItsSideUnread, strategy)
    with connect(served) as client:
        client.sendall(b"onetwo")
        assert client.recv(100) == b"answer"
        assert client.recv(100) == b""
    assert outcomes(served) == ["completed"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_handler_ends_its_side_by_close_notify(strategy: str, start: Callable[..., Any]) -> None:
    served = start(EndsItsSide, strategy)
    with connect(served) as client:
        assert client.recv(100) == b"a question"
        assert client.recv(100) == b""
        client.send(b"an answer")
        assert outcomes(served) == ["completed"]


class StopsReading(BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(self.request.recv(3))
        self.request.shutdown(socket.SHUT_RD)
        rest = b""
        while data := self.request.recv(100):
            rest += data
        self.request.sendall(rest + b"bye")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_handler_that_stops_reading_gets_what_has_come(strategy: str, start: Callable[..., Any]) -> None:
    served = start(StopsReading, strategy)
    with connect(served) as client:
        client.sendall(b"onetwo")
        assert client.recv(100) == b"one"
        assert client.recv(100) == b"twobye"  # encrypted: else it would be an error of TLS
        assert client.recv(100) == b""
    assert outcomes(served) == ["completed"]


class FinishesInChild(BaseRequestHandler):
    def handle(self) -> None:
        assert self.request.recv(100) == b"large"
        self.finish_in_child()
        self.request.sendall(b"done")


class Forks(BaseRequestHandler):
    def handle(self) -> None:
        assert self.request.recv(100) == b"large"
        if os.fork() == 0:
            self.request.sendall(b"done")


@pytest.mark.parametrize("handler", [FinishesInChild, Forks])
def test_a_request_that_goes_on_in_a_child(handler: Any, start: Callable[..., Any]) -> None:
    served = start(handler, "sync")
    for _ in range(2):
        with connect(served) as client:
            client.send(b"large")
            assert client.recv(100) == b"done"
            assert client.recv(100) == b""
    assert outcomes(served, 2) == ["completed"] * 2
    if handler is Forks:
        os.waitpid(-1, 0), os.waitpid(-1, 0)  # which are the handler's own


# What handlers see -------------------------------------------------------------------------------


class TellsOfTLS(BaseRequestHandler):
    def handle(self) -> None:
        request = self.request
        subject = dict(pair[0] for pair in (request.getpeercert() or {}).get("subject", ()))
        told = (request.version(), request.selected_alpn_protocol(), request.server_side, sorted(subject))
        assert request.cipher()
        request.sendall(repr(told).encode())


class ProtocolTellsOfTLS(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        tls = transport.get_extra_info("ssl_object")
        subject = dict(pair[0] for pair in (transport.get_extra_info("peercert") or {}).get("subject", ()))
        assert transport.get_extra_info("cipher") == tls.cipher()
        assert transport.get_extra_info("sslcontext") is not None
        assert not transport.can_write_eof()
        told = (tls.version(), tls.selected_alpn_protocol(), tls.server_side, sorted(subject))
        transport.write(repr(told).encode())
        transport.close()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("handler", [TellsOfTLS, ProtocolTellsOfTLS])
def test_what_a_handler_sees(handler: Any, strategy: str, start: Callable[..., Any], tmp_path: Path) -> None:
    root = authority().write_root(tmp_path / "root.pem")
    served = start(handler, strategy, alpn="h2, echo/1", client_ca=str(root))
    context = authority().client()
    context.set_alpn_protocols(["other", "echo/1"])
    authority().issue("client.example").configure_cert(context)
    with connect(served, context=context) as client:
        told = b"".join(iter(lambda: client.recv(1000), b"")).decode()
        assert client.selected_alpn_protocol() == "echo/1"
    assert told == "('TLSv1.3', 'echo/1', True, ['commonName', 'organizationName'])" or told == (
        "('TLSv1.3', 'echo/1', True, ['organizationName', 'organizationalUnitName'])"
    )
    # Without a certificate: under TLS 1.3 the client hears of it when it reads.
    with contextlib.suppress(ssl.SSLError, ConnectionError), connect(served) as client:
        assert client.recv(100) == b"", "a client without a certificate is answered"
    assert outcomes(served, 2) == ["completed", "aborted"]


class Speaks(TellsOfTLS):
    alpn_protocols = ("echo/2", "echo/1")


@pytest.mark.parametrize(
    ("option", "offered", "agreed"),
    [
        ("", ["other", "echo/1", "echo/2"], "echo/2"),
        ("", ["other"], None),
        ("", [], None),
        ("echo/1", ["echo/2", "echo/1"], "echo/1"),
    ],
)
def test_what_a_handler_speaks_is_agreed_on(
    option: str, offered: list[str], agreed: str | None, start: Callable[..., Any]
) -> None:
    served = start(functools.partial(Speaks), "threading", alpn=option)
    context = authority().client()
    context.set_alpn_protocols(offered)
    with connect(served, context=context) as client:
        assert client.selected_alpn_protocol() == agreed


def test_what_a_handler_does_not_speak_is_refused(start: Callable[..., Any], no_leaks: None) -> None:
    expected = "alpn: the handler does not speak h2; name echo/2 or echo/1, or nothing"
    with pytest.raises(OptionError, match=f"^{expected}$"):
        start(Speaks, "threading", alpn="echo/1,h2")


@pytest.mark.parametrize("names", ["echo/1", {"echo/1"}, 7, (b"echo/1",), ("",), ("x" * 256,), ("\u0141",)])
def test_what_a_handler_says_must_be_names(names: Any, start: Callable[..., Any], no_leaks: None) -> None:
    handler = type("Careless", (TellsOfTLS,), {"alpn_protocols": names})
    with pytest.raises(
        TargetError, match=r"Careless.*: its alpn_protocols must be a tuple of names, .*, not "
    ):
        start(handler, "threading")


def test_a_plain_connection_has_nothing_of_tls() -> None:
    class Plain(BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(str(hasattr(self.request, "getpeercert")).encode())

    served = serve(Plain, "tcp", "select")
    try:
        assert served.exchange(b"") == b"False"
    finally:
        served.stop()


# Who can't stall it ------------------------------------------------------------------------------


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    client = authority().client().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_silent_and_half_open_clients_stall_nobody(strategy: str, start: Callable[..., Any]) -> None:
    crowd = 1000 if strategy in ("select", "asyncio", "thread-pool") else 60
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    served = start(BlockingLines, strategy, max_preludes=2000, max_active_requests=2)
    half = client_hello()[:100]
    with contextlib.ExitStack() as stack:
        for number in range(crowd):
            plain = stack.enter_context(socket.create_connection(served.address, PATIENCE))
            if number % 2:
                plain.send(half)
        start_time = time.monotonic()
        for _ in range(3):
            with connect(served) as client:
                assert exchange(client, b"hello\n") == b"HELLO\n"
        assert time.monotonic() - start_time < PATIENCE / 2
        wait_until(lambda: not served.server.active_requests)
        assert outcomes(served, 3) == ["completed"] * 3
        assert len([event for event in served.events if event.hook == "request_started"]) == 3


@pytest.mark.parametrize("strategy", ["threading", "select", "asyncio"])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_client_that_leaves_amid_its_hello(at_once: bool, strategy: str, start: Callable[..., Any]) -> None:
    served = start(BlockingLines, strategy)
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.send(client_hello()[:100])
        if not at_once:
            wait_until(lambda: served.server.intake.pending)
    reason = served.wait_for_event("request_rejected", PATIENCE / 2)["reason"]
    assert reason == "the client closed the connection before its request began"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "said",
    [
        b"G",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x00\x01",
        b"\x16\x02\x01\x00\x05hello",
        b"\x16\x03\x01\x00\x05\x02ello",
    ],
    ids=["byte", "http", "empty", "version", "message"],
)
def test_who_does_not_speak_tls_is_turned_away(said: bytes, strategy: str, start: Callable[..., Any]) -> None:
    served = start(BlockingLines, strategy)
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.send(said)
        with contextlib.suppress(ConnectionError):
            assert plain.recv(100) == b""
    assert served.wait_for_event("request_rejected")["reason"] == "the client does not speak TLS"
    assert not [event for event in served.events if event.hook == "request_started"]


def test_a_hello_in_many_records(start: Callable[..., Any]) -> None:
    """One that is cut into records of few bytes takes no thread before it is whole."""
    served = start(BlockingLines, "threading")
    hello = client_hello()[5:]
    records = [b"\x16\x03\x01\x00\x10" + hello[at : at + 16] for at in range(0, 160, 16)]
    with socket.create_connection(served.address, PATIENCE) as plain:
        for record in records:
            plain.send(record)
        time.sleep(0.05)
        assert not served.server.active_requests


def test_a_hello_in_too_many_records_is_turned_away(start: Callable[..., Any]) -> None:
    served = start(BlockingLines, "threading")
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.sendall(b"".join(b"\x16\x03\x01\x00\x01" + bytes([each]) for each in client_hello()[5:105]))
        reason = served.wait_for_event("request_rejected")["reason"]
    assert reason == "its ClientHello takes more than 64 records"


def test_a_hello_without_end_is_turned_away(start: Callable[..., Any]) -> None:
    served = start(BlockingLines, "threading")
    record = b"\x16\x03\x01\x40\x00"
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.sendall((record + b"\x01\xff\xff\xff" + bytes(16380)) + 2 * (record + bytes(16384)))
        reason = served.wait_for_event("request_rejected")["reason"]
    assert reason == "its ClientHello takes more than 32768 bytes"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_client_that_stops_in_the_handshake_times_out(
    strategy: str, start: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    served = start(BlockingLines, strategy, handshake_timeout=0.3)
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.send(client_hello())
        assert outcomes(served) == ["timed-out"]
    with connect(served) as client:
        assert exchange(client, b"hello\n") == b"HELLO\n"
    assert_no_fuss(caplog, strategy, "handshake_timeout = 0.3 s")


def test_a_want_of_descriptors_is_no_fault_of_the_client(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrap_connection(request: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    served = start(BlockingLines, "threading")
    monkeypatch.setattr(served.server, "wrap_connection", wrap_connection)
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.send(client_hello())
        assert outcomes(served) == ["failed"]


@pytest.mark.parametrize("handler", [ProtocolLines, async_lines])
def test_shutdown_amid_a_handshake_ends_the_request(handler: Any, start: Callable[..., Any]) -> None:
    served = start(handler, "asyncio")
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.send(client_hello())
        served.wait_for_event("request_started")
        served.server.shutdown()
        assert outcomes(served) == ["aborted"]
    assert not served.server.active_requests


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("handler", [BlockingLines, ProtocolLines])
def test_a_handshake_that_fails_is_one_line(
    handler: Any, strategy: str, start: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    served = start(handler, strategy)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(served, context=ssl.create_default_context())
    assert outcomes(served) == ["aborted"]
    old = authority().client()
    with warnings.catch_warnings(action="ignore"):
        old.maximum_version = old.minimum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(served, context=old)
    assert outcomes(served, 2) == ["aborted", "aborted"]
    assert_no_fuss(caplog, strategy, "the TLS handshake failed: ")


REFUSED = [
    (handler, strategy)
    for handler in (BlockingLines, ProtocolLines, async_lines)
    for strategy in STRATEGIES
    if (handler, strategy) != (async_lines, "select")
]


@pytest.mark.parametrize(("handler", "strategy"), REFUSED)
def test_who_is_refused_hears_why(
    handler: Any, strategy: str, start: Callable[..., Any], tmp_path: Path
) -> None:
    root = authority().write_root(tmp_path / "root.pem")
    served = start(handler, strategy, client_ca=str(root))
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"), connect(served) as client:
        client.recv(100)
    old = authority().client()
    with warnings.catch_warnings(action="ignore"):
        old.maximum_version = old.minimum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        connect(served, context=old)
    assert outcomes(served, 2) == ["aborted", "aborted"]


@pytest.mark.parametrize(("handler", "strategy"), REFUSED)
def test_a_name_that_nobody_has_is_told_of(
    handler: Any, strategy: str, start: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "names").mkdir()
    authority().write(tmp_path / "names" / "other.example.pem", "other.example")
    served = start(handler, strategy, certfile=None, sni_directory=str(tmp_path / "names"))
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        connect(served)
    assert outcomes(served) == ["aborted"]
    assert_no_fuss(caplog, strategy, "the TLS handshake failed: there is no certificate for 'localhost'")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel does not count")
@pytest.mark.parametrize(("handler", "strategy"), REFUSED)
def test_bytes_are_counted(handler: Any, strategy: str, start: Callable[..., Any]) -> None:
    served = start(handler, strategy)
    with connect(served) as client:
        assert exchange(client, b"hello\n") == b"HELLO\n"
        client.unwrap()
    context = served.wait_for_event("request_finished")["context"]
    assert context.bytes_received > 200  # the hello, too
    assert context.bytes_sent > 500


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("handler", [BlockingLines, ProtocolLines, async_lines])
def test_garbage_amid_the_stream_aborts_the_request(
    handler: Any, strategy: str, start: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    if (handler, strategy) == (async_lines, "select"):
        return  # refused
    caplog.set_level(logging.INFO)
    served = start(handler, strategy)
    with connect(served) as client:
        assert exchange(client, b"hello\n") == b"HELLO\n"
        socket.socket.send(client, b"\x17\x03\x03\x00\x20" + bytes(32))
        assert outcomes(served) == ["aborted"]
    assert_no_fuss(caplog, strategy, "the TLS connection broke: ")


def assert_no_fuss(caplog: pytest.LogCaptureFixture, strategy: str, said: str) -> None:
    """The log has lines of information, one of which says so, and no traceback."""
    for record in caplog.records:
        assert record.levelno <= logging.INFO or "forking while" in record.message, record.message
        assert not record.exc_info, record.exc_text
    if strategy != "forking":  # whose child has its own
        assert [record for record in caplog.records if said in record.message], caplog.text


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_client_that_leaves_without_a_word(strategy: str, start: Callable[..., Any]) -> None:
    served = start(BlockingLines, strategy)
    client = connect(served)
    assert exchange(client, b"hello\n") == b"HELLO\n"
    client.close()
    outcomes(served)
    with connect(served) as client:
        assert exchange(client, b"hello\n") == b"HELLO\n"


class NeverEnds(BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"here")
        self.request.recv(1)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_request_is_cut_by_its_timeout(strategy: str, start: Callable[..., Any]) -> None:
    served = start(NeverEnds, strategy, request_timeout=1.0)
    with connect(served, ragged=True) as client:
        assert client.recv(10) == b"here"
        assert outcomes(served) == ["timed-out"]
        with contextlib.suppress(OSError):
            assert client.recv(10) == b""


class TellsTheAddress(BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(repr(self.client_address).encode())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_proxys_header_comes_before_the_handshake(strategy: str, start: Callable[..., Any]) -> None:
    served = start(TellsTheAddress, strategy, proxy_protocol=True, proxy_trusted=["127.0.0.1"])
    with socket.create_connection(served.address, PATIENCE) as plain:
        plain.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")
        with authority().client().wrap_socket(plain, server_hostname="localhost") as client:
            assert client.recv(100) == b"('192.0.2.7', 4711)"
            assert client.recv(100) == b""
