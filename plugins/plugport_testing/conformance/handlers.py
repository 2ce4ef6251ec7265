"""HandlerConformance: a handler gives its answer under every strategy, whatever its clients do."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from plugport.combination import check
from plugport.contracts import strategy_traits
from plugport.handlers import transports_of
from plugport.plugin import default_registry
from plugport_testing.clients import converse
from plugport_testing.conformance.base import Conformance, Needs, case
from plugport_testing.conformance.clients import send_and_close
from plugport_testing.conformance.trial import Trial
from plugport_testing.serving import combine, resolve

__all__ = ["HandlerConformance"]

#: What comes back: bytes, a pattern for all of it, or nothing (None: no datagram).
Answer = bytes | re.Pattern[bytes] | None

#: Pieces into which a question is cut at most, where each is sent by itself.
_PIECES = 64


class HandlerConformance(Conformance):
    """The cases that every handler must hold::

        class TestUpper(HandlerConformance):
            handler = "upper"
            exchange = (b"hello", b"HELLO")

    Each is run on a server of each kind that the handler serves, under every strategy that is
    installed and legal for it: "tcp-threading".
    """

    parameter: ClassVar[str] = "combination"

    #: The handler: a class or function, or the name of one that is installed.
    handler: ClassVar[Any]
    #: What a client sends, before it says that there is no more, and what it gets back until the end.
    exchange: ClassVar[tuple[bytes, Answer]]
    #: A datagram, and the one that comes back, where this is not the same as ``exchange``.
    datagram_exchange: ClassVar[tuple[bytes, Answer] | None] = None
    #: Clients that come at the same time.
    client_count: ClassVar[int] = 10

    _combinations: ClassVar[dict[str, tuple[str, str]]]
    _serial: ClassVar[set[str]]

    @classmethod
    def prepare(cls) -> bool:
        """Find the combinations that are legal."""
        if not hasattr(cls, "handler"):
            return False
        handler = resolve("handler", cls.handler)
        if not hasattr(cls, "exchange") and (
            cls.datagram_exchange is None or "stream" in transports_of(handler)
        ):
            raise TypeError(
                f"{cls.__name__} does not say what its handler is asked, and what it answers: "
                'exchange = (b"question", b"answer")'
            )
        registry = default_registry()
        cls._combinations, cls._serial = {}, set()
        for transport, server in (("stream", "tcp"), ("datagram", "udp")):
            for entry in registry.entries("concurrency"):
                if transport in transports_of(handler) and check(handler, server, entry, registry).legal:
                    name = f"{server}-{entry.selector}"
                    cls._combinations[name] = server, entry.selector
                    if strategy_traits(registry.load(entry)).serial:
                        cls._serial.add(name)
        return True

    @classmethod
    def values(cls, needs: Needs) -> tuple[str, ...]:
        """Return the combinations in which a case makes sense."""
        server = {"stream": "tcp", "datagram": "udp", None: ""}[needs.transport]
        names = [name for name in cls._combinations if name.startswith(server)]
        return tuple(name for name in names if not (needs.concurrent and name in cls._serial))

    # For the cases ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def serving(self, combination: str) -> Iterator[Trial]:
        """Serve the handler in that combination until the block ends."""
        server, strategy = self._combinations[combination]
        # Of the class: a function that is an attribute would be bound to self.
        server_class, handler, name = combine(type(self).handler, server, strategy, self.options)
        with self.open_trial() as trial:
            trial.add(server_class, server, handler, name)
            trial.start()
            yield trial

    def assert_answers(self, trial: Trial) -> None:
        """A new client gets the answer."""
        if trial.server.is_stream():
            self._assert_answer(trial.exchange(self.exchange[0]), self.exchange[1])
            return
        question, expected = self.datagram_exchange or self.exchange
        client = trial.connect()
        client.send(question)
        if expected is not None:
            self._assert_answer(client.recv(2**20), expected)
            return
        address = client.getsockname()
        self.wait_until(
            lambda: address in [context.client_address for context in trial.contexts("request_finished")],
            "the end of a request",
        )
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            raise AssertionError(f"{question!r} is answered {client.recv(2**20)!r}, and should not be")

    def _assert_answer(self, answer: bytes, expected: Answer) -> None:
        if isinstance(expected, re.Pattern):
            same = expected.fullmatch(answer) is not None
        else:
            same = answer == (expected or b"")
        wanted = expected[:200] if isinstance(expected, bytes) else expected
        assert same, f"the answer is {answer[:200]!r}, and should be {wanted!r}"

    # The cases --------------------------------------------------------------------------------------

    def test_exchange(self, combination: str) -> None:
        """Each client gets the answer, and each request is completed."""
        with self.serving(combination) as trial:
            for _ in range(3):
                self.assert_answers(trial)
            assert trial.outcomes(3) == ["completed"] * 3

    @case(transport="stream")
    def test_any_split(self, combination: str) -> None:
        """The answer is the same when the question comes in pieces, whatever they are."""
        question, expected = self.exchange
        with self.serving(combination) as trial:
            for size in sorted({max(1, len(question) // _PIECES), len(question) // 2 or 1}):
                client = trial.connect()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                with contextlib.suppress(ConnectionError):  # it may have heard enough; the answer tells
                    for start in range(0, len(question), size):
                        client.sendall(question[start : start + size])
                        time.sleep(0.001)  # the handler gets it before there is more
                self._assert_answer(converse(client, b""), expected)
                client.close()

    @case(concurrent=True)
    def test_many_at_once(self, combination: str) -> None:
        """Clients that come at the same time get each its own answer."""
        with self.serving(combination) as trial, ThreadPoolExecutor(self.client_count) as clients:
            for done in [clients.submit(self.assert_answers, trial) for _ in range(self.client_count)]:
                done.result()

    @case(transport="stream")
    def test_client_that_disconnects_early(self, combination: str) -> None:
        """A client that is gone in the middle of its question harms nobody."""
        question, _ = self.exchange
        with self.serving(combination) as trial:
            for size in sorted({0, len(question) // 2, len(question)}):
                with trial.connect() as client:
                    client.sendall(question[:size])
                send_and_close(trial.server, question[:size], reset=True, wait=False)
                self.assert_answers(trial)

    @case(transport="stream", concurrent=True)
    def test_silent_client(self, combination: str) -> None:
        """A client that says nothing, or stops in the middle, holds up nobody, nor the end of the service."""
        question, _ = self.exchange
        with self.serving(combination) as trial:
            for size in (0, len(question) // 2):
                trial.connect().sendall(question[:size])
            self.assert_answers(trial)
            trial.drain(0.1)
            trial.join()

    @case(transport="stream", concurrent=True)
    def test_client_that_does_not_read(self, combination: str) -> None:
        """A client that does not take its answer holds up nobody, nor the end of the service."""
        with self.serving(combination) as trial:
            client = trial.connect()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(self.exchange[0])
            client.shutdown(socket.SHUT_WR)
            client.recv(1, socket.MSG_PEEK)  # the answer has begun
            self.assert_answers(trial)
            trial.drain(0.1)
            trial.join()

    @case(transport="datagram")
    def test_unexpected_datagrams(self, combination: str) -> None:
        """Datagrams that are not what the handler expects, and a client that is gone, harm nobody."""
        question = (self.datagram_exchange or self.exchange)[0]
        with self.serving(combination) as trial:
            for strange in (b"", b"\xff\0" * 500, question[: len(question) // 2], question):
                with trial.connect() as client:
                    client.send(strange)
            trial.outcomes(4)
            self.assert_answers(trial)
