"""Proves that the load believes no server: it must object to each that does not echo as it should."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from accounts import Processors
from errors import BenchmarkError
from loads import Answers, Load, LoadRun

#: What a liar answers to its so many-th message, the one before it in hand; None: it closes, or is silent.
Answer = Callable[[bytes, bytes, int], bytes | None]

_STAY = Load(connections=1, requests=20, patience=0.2)
_ONCE = replace(_STAY, mode="connect")
_DATAGRAMS = replace(_STAY, mode="datagram")
#: The number of the message at which they begin to lie: after the warm-up.
_LIE = 9


def _late(honest: Answer, lie: Answer) -> Answer:
    return lambda *message: (honest if message[2] < _LIE else lie)(*message)


def _echo(data: bytes, before: bytes, number: int) -> bytes | None:
    return data


#: What the load must complain of, under which load, and the answers that it gets.
LIARS: tuple[tuple[str, Load, Answer], ...] = (
    ("a wrong answer", _STAY, _late(_echo, lambda data, before, number: data[:50] + b"?" + data[51:])),
    ("a wrong answer", _STAY, _late(_echo, lambda data, before, number: before)),
    ("an answer to nothing", _STAY, _late(_echo, lambda data, before, number: data + b"?")),
    ("no answer", _STAY, _late(_echo, lambda data, before, number: data[:-1])),
    ("closed by the server", _STAY, _late(_echo, lambda data, before, number: None)),
    ("closed by the server", _ONCE, _late(_echo, lambda data, before, number: data[:-1])),
    ("a wrong answer", _ONCE, _late(_echo, lambda data, before, number: before)),
    ("a wrong answer", _DATAGRAMS, _late(_echo, lambda data, before, number: data.upper())),
)


def check_load(where: Processors) -> None:
    """Raise BenchmarkError if the load takes a wrong answer for a right one, or miscounts."""
    for complaint, load, answer in LIARS:
        try:
            _run(load, answer, where)
        except BenchmarkError as error:
            if complaint not in str(error):
                raise
        else:
            raise BenchmarkError(f"the load has not noticed, in mode {load.mode}: {complaint}")
    answers = _run(_DATAGRAMS, _late(_echo, lambda data, _, number: data if number % 3 else None), where)
    if (answers.requests, answers.lost) != (14, 6):
        raise BenchmarkError(f"the load has miscounted what was lost: {answers}")


def _run(load: Load, answer: Answer, where: Processors) -> Answers:
    with _serving(load.mode, answer) as address, LoadRun(load, address, where.load) as run:
        run.connect()
        run.warm_up()
        return run.measure()


@contextmanager
def _serving(mode: str, answer: Answer) -> Iterator[tuple[str, int]]:
    """Serve one client after the other in a thread; yield the address."""
    ended = threading.Event()
    with socket.socket(
        socket.AF_INET, socket.SOCK_DGRAM if mode == "datagram" else socket.SOCK_STREAM
    ) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.05)
        serve = _serve_datagrams if mode == "datagram" else _serve_connections
        if mode != "datagram":
            sock.listen()
        thread = threading.Thread(target=serve, args=(sock, answer, mode == "connect", ended))
        thread.start()
        try:
            yield sock.getsockname()
        finally:
            ended.set()
            thread.join()


def _serve_connections(sock: socket.socket, answer: Answer, once: bool, ended: threading.Event) -> None:
    before, number = b"", 0
    while not ended.is_set():
        with suppress(OSError), sock.accept()[0] as connection:  # the client goes when it has caught the lie
            while data := connection.recv(65536):
                number += 1
                reply = answer(data, before, number)
                if reply is None:
                    break
                connection.sendall(reply)
                before = data
                if once:
                    break


def _serve_datagrams(sock: socket.socket, answer: Answer, once: bool, ended: threading.Event) -> None:
    before, number = b"", 0
    while not ended.is_set():
        with suppress(OSError):
            data, client = sock.recvfrom(65536)
            number += 1
            if reply := answer(data, before, number):
                sock.sendto(reply, client)
            before = data
