"""The server tls under every strategy: each style, and how each side ends a connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from certificates import authority
from secured import (
    BASIC_CELLS,
    CELLS,
    HANDLERS,
    STRATEGIES,
    BlockingLines,
    BufferedLines,
    ProtocolLines,
    assert_one_line,
    async_lines,
    connect,
    exchange,
    outcomes,
)

from plugport import BaseRequestHandler


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel does not count")
@pytest.mark.parametrize(("handler", "strategy"), BASIC_CELLS)
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
    assert_one_line(caplog, strategy, "the TLS connection broke: ")


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
