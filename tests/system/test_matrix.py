"""Every cell of ``plugport matrix``: a legal one serves a real client, another is refused with the reason."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from certificates import authority
from clients import correspondent
from command import Service, error_of, plugport, serving
from patience import wait_until

Row = dict[str, Any]

URLS = {
    "tcp": "tcp://127.0.0.1:0",
    "tls": "tls://127.0.0.1:0",
    "udp": "udp://127.0.0.1:0",
    "unix": "unix://{folder}/socket",
    "unixgram": "unixgram://{folder}/socket",
    "fd": "fd://{fd}",
    "fdgram": "fdgram://{fd}",
}
OPTIONS = {"tls": ("certfile={folder}/certificate.pem",)}
QUOTATION = "Whatever can be said at all can be said clearly."


# The clients ----------------------------------------------------------------------------------


class Peer:
    """The client's side of a service, which counts the requests that it makes."""

    def __init__(self, service: Service, folder: Path) -> None:
        self._service = service
        self._path = folder / "peer"
        self.is_stream = service.address.kind == socket.SOCK_STREAM
        self.requests = 0

    def ask(self, question: bytes = b"") -> bytes:
        """The whole answer to *question*, which is all that the request holds."""
        self.requests += 1
        if self.is_stream:
            return self._service.ask(question)
        with correspondent(self._service.address.family, self._service.address.address, self._path) as client:
            client.send(question)
            return client.recv(65536)

    def tell(self, statement: bytes) -> None:
        """Make a request that has no answer."""
        if self.is_stream:
            assert self.ask(statement) == b""
            return
        self.requests += 1
        with correspondent(self._service.address.family, self._service.address.address, self._path) as client:
            client.send(statement)
            wait_until(lambda: len(self._service.outcomes()) == self.requests)
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)

    def connect(self) -> Any:
        """A connection to talk over at length."""
        self.requests += 1
        return self._service.connect()


def echo(peer: Peer) -> None:
    for question in (b"hello\n", b"", bytes(range(256)) * 200):
        assert peer.ask(question) == question
    if peer.is_stream:
        with peer.connect() as client:
            for word in (b"first", b"second"):
                client.sendall(word)
                assert client.recv(100) == word


def discard(peer: Peer) -> None:
    for statement in (b"hello\n", b"", bytes(50_000)):
        peer.tell(statement)


def daytime(peer: Peer) -> None:
    text, _, zone = peer.ask().decode().partition("-")
    assert re.fullmatch(r"\S+\r\n", zone)
    then = time.mktime(time.strptime(text, "%A, %B %d, %Y %H:%M:%S"))
    assert abs(time.time() - then) < 60


def time_(peer: Peer) -> None:
    answer = peer.ask()
    assert len(answer) == 4
    since_1900 = int(time.time()) + (70 * 365 + 17) * 24 * 60 * 60
    assert abs(since_1900 % 2**32 - int.from_bytes(answer, "big")) < 60


def chargen(peer: Peer) -> None:
    printable = "".join(map(chr, range(32, 127))) * 2
    lines = [f"{printable[start : start + 72]}\r\n" for start in range(95)]
    expected = "".join(lines * 2).encode()
    if not peer.is_stream:
        answer = peer.ask()
        assert len(answer) <= 512
        assert expected.startswith(answer)
        return
    with peer.connect() as client, client.makefile("rb") as file:
        assert file.read(len(expected)) == expected


def qotd(peer: Peer) -> None:
    assert peer.ask() == f"{QUOTATION}\r\n".encode()


def exec_(peer: Peer) -> None:
    assert peer.ask(b"hello\n") == b"HELLO\n"
    with peer.connect() as client:  # the program ends although the client does not
        client.sendall(b"a line\n" * 3)
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == b"A LINE\n" * 3


def counter(peer: Peer) -> None:
    for number in (1, 2, 3):
        assert peer.ask() == b"%d\n" % number


def checksum(peer: Peer) -> None:
    large = bytes(range(256)) * (4000 if peer.is_stream else 200)
    for text in (b"hello\n", b"", large):
        assert peer.ask(text) == f"{hashlib.sha256(text).hexdigest()}\n".encode()


class Trial(NamedTuple):
    """How a handler is tried: by its client, with these options, to this outcome on stream servers."""

    client: Callable[[Peer], None]
    options: tuple[str, ...] = ()
    stream_outcome: str = "completed"


TRIALS = {
    "echo": Trial(echo),
    "discard": Trial(discard),
    "daytime": Trial(daytime),
    "time": Trial(time_),
    "chargen": Trial(chargen, stream_outcome="aborted"),  # for it is the client that ends it
    "qotd": Trial(qotd, ("quotes_file={folder}/quotes",)),
    "exec": Trial(exec_, ("argv=tr a-z A-Z",)),
    "counter": Trial(counter),
    "checksum": Trial(checksum),
}


# The cells ------------------------------------------------------------------------------------


@cache
def built_in_rows() -> list[Row]:
    """The matrix of what plugport brings; what others have installed beside it is theirs to test."""

    def read(*arguments: str) -> Any:
        result = plugport(Path.cwd(), *arguments, "--json")
        assert result.returncode == 0, result
        return json.loads(result.stdout)

    built_in = {(each["kind"], each["name"]) for each in read("list") if each["origin"] == "built-in"}
    kinds = ("handler", "server", "concurrency")
    return [row for row in read("matrix") if all((kind, row[kind]) in built_in for kind in kinds)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for verdict in {"legal", "refused"} & set(metafunc.fixturenames):
        rows = [row for row in built_in_rows() if row["verdict"] == verdict]
        # One handler in each cell is enough for every day: the conformance suites try the others.
        cells = [
            pytest.param(
                row,
                id="-".join((row["handler"], row["server"], row["concurrency"])),
                marks=[pytest.mark.slow] if verdict == "legal" and row["handler"] != "echo" else [],
            )
            for row in rows
        ]
        metafunc.parametrize(verdict, cells)


def url_of(row: Row, folder: Path, fd: int = 3) -> str:
    assert row["server"] in URLS, f"this test has no URL for the server {row['server']}: give it one"
    return URLS[row["server"]].format(folder=folder, fd=fd)


@contextmanager
def socket_for(row: Row) -> Iterator[int]:
    """A socket to be handed over to the server of the cell, which it may take or not."""
    kind = socket.SOCK_DGRAM if row["server"] == "fdgram" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        yield sock.fileno()


def test_the_matrix_has_every_combination_once() -> None:
    rows = built_in_rows()
    names = [{row[kind] for row in rows} for kind in ("handler", "server", "concurrency")]
    assert {"tcp", "tls", "udp", "unix", "unixgram", "fd", "fdgram"} <= names[1]
    assert {"sync", "threading", "forking"} <= names[2]
    cells = [(row["handler"], row["server"], row["concurrency"]) for row in rows]
    assert len(cells) == len(set(cells)) == len(names[0]) * len(names[1]) * len(names[2])


def test_a_legal_cell_serves(legal: Row, tmp_path: Path) -> None:
    handler = legal["handler"]
    assert handler in TRIALS, f"this test has no client of the handler {handler}: give it one"
    trial = TRIALS[handler]
    (tmp_path / "quotes").write_text(f"{QUOTATION}\n")
    texts = (*trial.options, *OPTIONS.get(legal["server"], ()))
    options = [word for text in texts for word in ("-o", text.format(folder=tmp_path))]
    authority().write(tmp_path / "certificate.pem")
    arguments = ["-c", legal["concurrency"], *options, "--access-log"]
    with (
        socket_for(legal) as fd,
        serving(tmp_path, handler, url_of(legal, tmp_path, fd), *arguments, pass_fds=[fd]) as service,
    ):
        warned = re.findall("^plugport: (warning: .*)$", service.output, re.MULTILINE)
        assert warned == ([legal["reason"]] if legal["reason"] else [])
        peer = Peer(service, tmp_path)
        trial.client(peer)
        wait_until(lambda: len(service.outcomes()) >= peer.requests)
        assert service.stop(signal.SIGTERM) == 0
    outcome = trial.stream_outcome if peer.is_stream else "completed"
    assert service.outcomes() == [outcome] * peer.requests
    assert not re.search(" (WARNING|ERROR) ", service.output), service.output


def test_a_refused_cell_is_refused_with_the_reason(refused: Row, tmp_path: Path) -> None:
    names = refused["handler"], refused["server"], refused["concurrency"]
    assert refused["reason"]
    result = plugport(tmp_path, "check", *names)
    assert (result.returncode, result.stdout, result.stderr) == (1, f"refused: {refused['reason']}\n", "")
    result = plugport(tmp_path, "serve", names[0], url_of(refused, tmp_path), "-c", names[2])
    assert error_of(result).endswith(f": {refused['reason']}")
    assert not list(tmp_path.iterdir())
