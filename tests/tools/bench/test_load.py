"""The load: what it counts is what the service did, and what goes wrong is counted and never waited for."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from socketserver import BaseRequestHandler, StreamRequestHandler
from typing import Any

import pytest
from patience import Call

from plugport_builtins.handlers.daytime import DaytimeHandler
from plugport_builtins.handlers.echo import EchoHandler
from plugport_tools.bench.exchange import Address, Exchange
from plugport_tools.bench.load import Job, Load
from plugport_tools.bench.loaders import LoadError, load_processes, raise_descriptor_limit
from plugport_tools.bench.tally import Tally, Window, quantile

LINE = b"hello\n"
KEPT = Exchange(LINE, len(LINE), keep_alive=True)
RENEWED = Exchange(LINE, len(LINE))

Press = Callable[..., Tally]


@pytest.fixture
def press(tmp_path: Path, no_leaks: None) -> Press:
    """press(address, exchange) is what a load in this process counts within a fifth of a second."""

    def run(
        address: Address, exchange: Exchange, *, clients: int = 4, timeout: float = 5.0, seconds: float = 0.2
    ) -> Tally:
        begin = time.monotonic()
        load = Load(Job(address, exchange, clients, timeout, str(tmp_path)), Window(begin, begin + seconds))
        try:
            tally: Tally = Call(load.run).result()
        finally:
            load.close()
        return tally

    return run


class Tells:
    """Counts requests, and what they were, in the memory of the test."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.connections = 0
        tells = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                tells.connections += 1
                for line in self.rfile:
                    tells.lines.append(line)
                    self.wfile.write(line)

        self.handler = Handler


# What is answered -------------------------------------------------------------------------------


def test_every_answer_in_the_window_is_counted_and_no_other(press: Press, listen: Any) -> None:
    service = Tells()
    tally = press(listen(service.handler), KEPT)
    assert set(service.lines) == {LINE}
    assert service.connections == tally.served == 4
    # Each connection has one answer more at most, which came too late.
    assert len(service.lines) - 4 <= tally.requests <= len(service.lines)
    assert tally.requests > 20
    assert not tally.errors


def test_a_connection_for_each_request(press: Press, listen: Any) -> None:
    service = Tells()
    tally = press(listen(service.handler), RENEWED, seconds=0.5)
    assert tally.requests > 8
    assert not tally.errors
    assert tally.requests <= service.connections <= tally.requests + 8


@pytest.mark.parametrize("server", ["tcp", "unix", "udp", "unixgram"])
def test_every_server(press: Press, listen: Any, server: str) -> None:
    exchange = KEPT if server in ("tcp", "unix") else Exchange(LINE, 1, keep_alive=True)
    tally = press(listen(EchoHandler, server), exchange)
    assert tally.requests > 8
    assert (tally.served, tally.errors) == (4, {})


def test_an_answer_till_the_end_of_the_stream(press: Press, listen: Any) -> None:
    tally = press(listen(DaytimeHandler), Exchange(b"", None))
    assert tally.requests > 8
    assert not tally.errors


def test_a_request_that_ends_with_our_side_of_the_connection(press: Press, listen: Any) -> None:
    class ReadsAll(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.read()[::-1])

    for payload in (LINE, b"", b"x" * 1_000_000):
        sized = Exchange(payload, len(payload) or None, half_close=True)
        to_the_end = Exchange(payload, None, half_close=True)
        for exchange in (sized, to_the_end):
            tally = press(listen(ReadsAll), exchange)
            if payload:
                assert tally.requests > 4
                assert not tally.errors
            else:
                assert set(tally.errors) == {"closed without an answer"}


def test_a_greeting_comes_once_for_each_connection(press: Press, listen: Any) -> None:
    class Greeting(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"hello, and ")
            self.wfile.write(b"welcome\n")
            for line in self.rfile:
                self.wfile.write(line)

    for keep_alive in (True, False):
        tally = press(listen(Greeting), Exchange(LINE, 6, greeting=19, keep_alive=keep_alive))
        assert tally.requests > 8
        assert not tally.errors


def test_requests_and_answers_that_no_buffer_holds(press: Press, listen: Any) -> None:
    payload = bytes(3_000_000)
    for server in ("tcp", "unix"):
        tally = press(listen(EchoHandler, server), Exchange(payload, len(payload), keep_alive=True))
        assert tally.requests >= 4
        assert not tally.errors


def test_latencies_are_those_of_the_service(press: Press, listen: Any) -> None:
    class Slow(StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                time.sleep(0.05)
                self.wfile.write(line)

    tally = press(listen(Slow), KEPT, seconds=0.4)
    assert 0.049 < quantile(tally.latencies, 0.5) < 0.09
    assert 4 * 4 <= tally.requests <= 4 * 8


def test_more_clients_than_a_unix_socket_has_backlog(press: Press, listen: Any) -> None:
    address = listen(EchoHandler, "unix", "threading", request_queue_size=1)
    tally = press(address, RENEWED, clients=20)
    assert tally.requests > 20
    assert (tally.served, tally.errors) == (20, {})


def test_what_happens_to_a_connection_after_its_last_answer_does_not_count(press: Press, listen: Any) -> None:
    class Late(StreamRequestHandler):
        numbers = count(1)

        def handle(self) -> None:
            self.rfile.readline()
            time.sleep(0.1 + 0.1 * next(self.numbers))  # while the load waits for others, this one closes
            self.wfile.write(LINE)

    tally = press(listen(Late), KEPT, seconds=0.05)
    assert (tally.requests, tally.served, tally.errors) == (0, 4, {})


# What goes wrong --------------------------------------------------------------------------------


def handler_of(answers: Callable[[], list[bytes]]) -> type:
    """A handler that sends one of *answers* for each line; after the last it closes."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            for answer in answers():
                if not self.rfile.readline():
                    break
                self.wfile.write(answer)

    return Handler


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([LINE, b"hello, world\n"], "an answer longer than 6 bytes"),
        ([LINE, b"hel"], "closed in the middle of an answer"),
        ([LINE], "closed without an answer"),
    ],
)
def test_wrong_answers_are_counted_and_the_load_goes_on(
    press: Press, listen: Any, answers: list[bytes], error: str
) -> None:
    tally = press(listen(handler_of(lambda: answers)), KEPT)
    assert tally.requests > 4
    assert set(tally.errors) == {error}
    assert tally.errors.total() > 4  # it begins again after each


def test_answers_that_lack_something_are_waited_for_no_longer_than_the_timeout(
    press: Press, listen: Any
) -> None:
    class Short(StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline():
                self.wfile.write(b"hel")

    class Silent(StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.read()

    begin = time.monotonic()
    short = press(listen(Short), KEPT, timeout=0.1)
    silent = press(listen(Silent), KEPT, timeout=0.1)
    assert time.monotonic() - begin < 2
    assert set(short.errors) == {"an answer shorter than 6 bytes, or not complete within 0.1 s"}
    assert set(silent.errors) == {"no answer within 0.1 s"}
    assert (short.requests, silent.requests, silent.served) == (0, 0, 0)


def test_resets(press: Press, listen: Any) -> None:
    class Resets(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(10)
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()

    tally = press(listen(Resets), KEPT)
    assert set(tally.errors) == {"connection reset by peer"}


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_nobody_there(press: Press, kind: int) -> None:
    with socket.socket(socket.AF_INET, kind) as gone:
        gone.bind(("127.0.0.1", 0))
        address = gone.getsockname()
    tally = press(Address(socket.AF_INET, kind, address), Exchange(LINE, 1))
    assert set(tally.errors) == {"connection refused"}
    assert tally.errors.total() < 100  # it does not spin


def test_an_answer_before_the_end_of_the_request(press: Press, listen: Any) -> None:
    class Impatient(BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(LINE)
            ended.wait()

    ended = threading.Event()
    try:
        tally = press(listen(Impatient), Exchange(bytes(20_000_000), len(LINE), keep_alive=True))
    finally:
        ended.set()
    assert set(tally.errors) == {"an answer before the end of the request"}


def test_lost_datagrams(press: Press, listen: Any) -> None:
    class Forgetful(BaseRequestHandler):
        numbers = count()

        def handle(self) -> None:
            data, sock = self.request
            if next(self.numbers) % 20:
                sock.sendto(data, self.client_address)

    tally = press(listen(Forgetful, "udp"), Exchange(LINE, 1, keep_alive=True), timeout=0.05)
    assert tally.requests > 20
    assert set(tally.errors) == {"no answer within 0.05 s"}


# In processes -----------------------------------------------------------------------------------


@pytest.fixture
def address(listen: Callable[..., Address]) -> Address:
    return listen(EchoHandler)


def test_processes_share_the_clients_and_hold_their_connections_to_the_end(
    address: Address, tmp_path: Path
) -> None:
    with load_processes(2) as load:
        load.prepare([Job(address, KEPT, clients, 5.0, str(tmp_path)) for clients in (3, 2)])
        begin = time.monotonic()
        load.start(Window(begin, begin + 0.2))
        tally = load.finish()
    assert tally.requests > 10
    assert (tally.served, tally.errors) == (5, {})


def test_a_process_that_dies_is_an_error_that_says_so(address: Address, tmp_path: Path) -> None:
    job = Job(address, KEPT, 1, 5.0, str(tmp_path))
    with load_processes(1) as load:
        load.prepare([job._replace(folder=None)])  # type: ignore[arg-type]
        load.start(Window(0, 0))
        with pytest.raises(LoadError, match=r"ended early: TypeError: .*NoneType"):
            load.finish()


def test_no_process_outlives_its_block(no_leaks: None) -> None:
    with pytest.raises(KeyboardInterrupt), load_processes(2):
        raise KeyboardInterrupt


def test_connections_that_no_limit_allows() -> None:
    raise_descriptor_limit(10)
    with pytest.raises(LoadError, match=r"100000000 connections need \d+ open files, and the limit is \d+"):
        raise_descriptor_limit(100_000_000)
