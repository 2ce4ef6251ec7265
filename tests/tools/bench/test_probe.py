"""The probe finds out how each kind of handler answers, and says what it can't make sense of."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from socketserver import BaseRequestHandler, StreamRequestHandler
from typing import Any

import pytest

from plugport_builtins.handlers.chargen import ChargenHandler
from plugport_builtins.handlers.checksum import ChecksumHandler
from plugport_builtins.handlers.daytime import DaytimeHandler
from plugport_builtins.handlers.discard import DiscardHandler
from plugport_builtins.handlers.echo import EchoHandler
from plugport_tools.bench.exchange import Address, Exchange
from plugport_tools.bench.probe import ProbeError, probe

LINE = b"hello\n"


@pytest.fixture
def ask(listen: Callable[..., Address], tmp_path: Path) -> Callable[..., Exchange]:
    """ask(handler, payload) is what the probe finds; the other options are the service's and the probe's."""

    def run(handler: Any, payload: bytes = LINE, *, server: str = "tcp", **options: Any) -> Exchange:
        options = {"timeout": 0.5, **options}
        return probe(listen(handler, server), payload, str(tmp_path), **options)

    return run


class Greeting(StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 hello\n")
        for line in self.rfile:
            self.wfile.write(b"250 " + line)


class Once(StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())
        self.rfile.read()


class Twice(StreamRequestHandler):
    def handle(self) -> None:
        for _ in range(2):
            self.wfile.write(self.rfile.readline())


class Longer(StreamRequestHandler):
    def handle(self) -> None:
        for number, line in enumerate(self.rfile):
            self.wfile.write(line * (number + 1))


class LongerByService(StreamRequestHandler):
    def handle(self) -> None:
        state: Any = self.server.state  # type: ignore[attr-defined]
        for line in self.rfile:
            state.number = getattr(state, "number", 0) + 1
            self.wfile.write(line * state.number)


class InParts(StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            for byte in line:
                time.sleep(0.02)
                self.wfile.write(bytes([byte]))


class Hasty(StreamRequestHandler):
    def handle(self) -> None:
        pass


class TwoDatagrams(BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        for _ in range(2):
            sock.sendto(data, self.client_address)


# What it finds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["tcp", "unix"])
def test_a_connection_that_is_kept(ask: Callable[..., Exchange], server: str) -> None:
    assert ask(EchoHandler, server=server) == Exchange(LINE, 6, keep_alive=True, sample=LINE)


def test_a_connection_for_each_request_where_that_is_wanted(ask: Callable[..., Exchange]) -> None:
    assert ask(EchoHandler, keep_alive=False) == Exchange(LINE, 6, sample=LINE)


def test_a_long_request_and_its_long_answer(ask: Callable[..., Exchange]) -> None:
    payload = bytes(20_000_000)  # more than the buffers on the way hold
    found = ask(EchoHandler, payload, timeout=20.0)
    assert (found.answer, found.keep_alive) == (len(payload), True)


def test_an_answer_in_parts(ask: Callable[..., Exchange]) -> None:
    assert ask(InParts) == Exchange(LINE, 6, keep_alive=True, sample=b"h")


def test_a_greeting(ask: Callable[..., Exchange]) -> None:
    assert ask(Greeting) == Exchange(LINE, 10, greeting=10, keep_alive=True, sample=b"250 hello\n")


def test_who_speaks_without_being_asked_is_not_asked(ask: Callable[..., Exchange]) -> None:
    found = ask(DaytimeHandler)
    assert (found.payload, found.answer, found.keep_alive) == (b"", None, False)
    # Its beginning: on a Wednesday in September the line is longer than a sample.
    assert re.match(rb"\w+, \w+ \d+, \d+ ", found.sample)


def test_who_waits_for_the_end_of_the_input_is_told_it(ask: Callable[..., Exchange]) -> None:
    found = ask(ChecksumHandler)
    assert (found.payload, found.answer, found.half_close, found.keep_alive) == (LINE, None, True, False)


@pytest.mark.parametrize("handler", [Once, Twice])
def test_who_does_not_go_on_has_a_connection_for_each_request(
    ask: Callable[..., Exchange], handler: Any
) -> None:
    found = ask(handler)
    assert (found.answer, found.keep_alive, found.half_close) == (6, False, False)


def test_answers_that_differ_on_one_connection(ask: Callable[..., Exchange]) -> None:
    assert ask(Longer) == Exchange(LINE, 6, sample=LINE)


def test_answers_that_always_differ_are_read_to_their_end(ask: Callable[..., Exchange]) -> None:
    assert ask(LongerByService) == Exchange(LINE, None, half_close=True, sample=LINE)


@pytest.mark.parametrize("server", ["udp", "unixgram"])
@pytest.mark.parametrize(("handler", "count"), [(EchoHandler, 1), (TwoDatagrams, 2)])
def test_datagrams_are_counted(
    ask: Callable[..., Exchange], server: str, handler: Any, count: int, tmp_path: Path
) -> None:
    assert ask(handler, server=server) == Exchange(LINE, count, keep_alive=True, sample=LINE)
    assert not (tmp_path / "probe").exists()


def test_an_empty_datagram_is_an_answer(ask: Callable[..., Exchange]) -> None:
    assert ask(EchoHandler, b"", server="udp").answer == 1


# What it can't make sense of ----------------------------------------------------------------------


@pytest.mark.parametrize("server", ["tcp", "udp"])
def test_no_answer(ask: Callable[..., Exchange], server: str) -> None:
    with pytest.raises(ProbeError, match=r"answer.* to 'hello\\n'; give a request .* --payload"):
        ask(DiscardHandler, server=server)


@pytest.fixture
def ended() -> Iterator[threading.Event]:
    """Set after the test."""
    event = threading.Event()
    yield event
    event.set()


def test_no_answer_and_no_end(ask: Callable[..., Exchange], ended: threading.Event) -> None:
    class Silent(BaseRequestHandler):
        def handle(self) -> None:
            ended.wait()

    with pytest.raises(ProbeError, match="nothing is answered to 'hello"):
        ask(Silent)


def test_closed_at_once(ask: Callable[..., Exchange]) -> None:
    with pytest.raises(ProbeError, match="closes the connection without an answer; give"):
        ask(Hasty)


def test_no_end(ask: Callable[..., Exchange]) -> None:
    with pytest.raises(ProbeError, match=r"no end: \d+ bytes, and no pause, in 0.5 s; .* --timeout"):
        ask(ChargenHandler)


def test_no_telling_where_an_answer_ends(ask: Callable[..., Exchange], ended: threading.Event) -> None:
    class LongerAndOpen(LongerByService):
        def handle(self) -> None:
            super().handle()
            ended.wait()

    with pytest.raises(ProbeError, match=r"answered with 6 bytes, then with \d+, .* stays open"):
        ask(LongerAndOpen)


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    with pytest.raises(ProbeError, match=r"the probe with 'hello\\n' failed: connection refused"):
        probe(Address(socket.AF_INET, socket.SOCK_STREAM, address), LINE, str(tmp_path))


def test_a_payload_that_no_datagram_holds(ask: Callable[..., Exchange]) -> None:
    with pytest.raises(ProbeError, match=r"the probe with 'x{40}'\.\.\. failed: message too long"):
        ask(EchoHandler, b"x" * 70_000, server="udp")
