"""HandlerConformance: a handler gives its reply under every strategy, whatever other clients do."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, TypeAlias

from plugport.combination import check
from plugport.contracts import Handler, strategy_traits
from plugport.handlers import transports_of
from plugport.plugin import default_registry
from plugport_testing.clients import converse
from plugport_testing.conformance.base import Conformance, Needs
from plugport_testing.conformance.clients import send_and_close
from plugport_testing.conformance.settings import missing_setting
from plugport_testing.conformance.trial import Trial
from plugport_testing.serving import combine, resolve

__all__ = ["HandlerConformance"]

#: The expected reply: bytes, a pattern for all of it, or nothing (None: no datagram).
Reply: TypeAlias = bytes | re.Pattern[bytes] | None
#: What a client sends, and the reply.
Exchange: TypeAlias = tuple[bytes, Reply]

#: The most pieces that a question is split into, each sent by itself.
_PIECES = 64


class HandlerConformance(Conformance):
    """The cases that every handler must pass::

        class TestUpper(HandlerConformance):
            handler = "upper"
            exchange = (b"hello", b"HELLO")

    Each runs on a server of each kind that the handler serves, under every installed strategy that is legal
    for it, as "tcp-threading".
    """

    parameter: ClassVar[str] = "combination"
    subject: ClassVar[tuple[str, str]] = ("handler", '"NAME", a class or a function')

    #: The handler: a class or function, or the name of an installed one.
    handler: ClassVar[str | Handler]
    #: What a client sends before it ends its side, and the complete reply.
    exchange: ClassVar[Exchange]
    #: A datagram and its reply, if ``exchange`` does not hold for datagrams.
    datagram_exchange: ClassVar[Exchange | None] = None
    #: Clients that connect at the same time.
    client_count: ClassVar[int] = 10

    #: The server and the strategy of each combination, by its name.
    _combinations: ClassVar[dict[str, tuple[str, str]]]
    #: The combinations that serve one client after the other.
    _serial: ClassVar[set[str]]

    @classmethod
    def prepare(cls) -> None:
        """Find the legal combinations. Raises TypeError if no exchange is set for the handler."""
        handler: Handler = resolve("handler", cls.handler)
        transports = transports_of(handler)
        if not hasattr(cls, "exchange") and (cls.datagram_exchange is None or "stream" in transports):
            raise TypeError(missing_setting(cls, "exchange", '(b"question", b"reply")'))
        registry = default_registry()
        cls._combinations, cls._serial = {}, set()
        for transport, server in (("stream", "tcp"), ("datagram", "udp")):
            for entry in registry.entries("concurrency"):
                if transport in transports and check(handler, server, entry, registry).legal:
                    name = f"{server}-{entry.selector}"
                    cls._combinations[name] = server, entry.selector
                    if strategy_traits(registry.load(entry)).serial:
                        cls._serial.add(name)

    @classmethod
    def values(cls, needs: Needs) -> tuple[str, ...]:
        """Return the combinations that a case with these needs runs in."""
        server = {"stream": "tcp", "datagram": "udp", None: ""}[needs.transport]
        names = [name for name in cls._combinations if name.startswith(server)]
        return tuple(name for name in names if not (needs.concurrent and name in cls._serial))

    # For the cases --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def serving(self, combination: str) -> Iterator[Trial]:
        """Serve the handler in that combination until the block ends."""
        server, strategy = self._combinations[combination]
        # Read from the class: on self, a function would be a bound method.
        server_class, handler, name = combine(type(self).handler, server, strategy, self.options)
        with self.open_trial() as trial:
            trial.add(server_class, server, handler, name)
            trial.start()
            yield trial

    def assert_replies(self, trial: Trial) -> None:
        """Assert that a new client gets the reply."""
        if trial.servers[0].is_stream():
            self._assert_reply(trial.exchange(self.exchange[0]), self.exchange[1])
            return
        question, expected = self._datagram_exchange()
        client = trial.connect()
        client.send(question)
        if expected is not None:
            self._assert_reply(client.recv(2**20), expected)
            return
        address = client.getsockname()
        self.wait_until(
            lambda: address in [context.client_address for context in trial.contexts("request_finished")],
            "the end of a request",
        )
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            raise AssertionError(f"the reply to {question!r} is {client.recv(2**20)!r}, and should be none")

    def _datagram_exchange(self) -> Exchange:
        return self.exchange if self.datagram_exchange is None else self.datagram_exchange

    def _assert_reply(self, reply: bytes, expected: Reply) -> None:
        if isinstance(expected, re.Pattern):
            same = expected.fullmatch(reply) is not None
        else:
            same = reply == (expected or b"")
        wanted = expected[:200] if isinstance(expected, bytes) else expected
        assert same, f"the reply is {reply[:200]!r}, and should be {wanted!r}"

    # The cases ------------------------------------------------------------------------------------

    def test_exchange(self, combination: str) -> None:
        """Each client gets the reply, and each request is completed."""
        with self.serving(combination) as trial:
            for _ in range(3):
                self.assert_replies(trial)
            assert trial.outcomes(3) == ["completed"] * 3

    @Needs(transport="stream")
    def test_any_split(self, combination: str) -> None:
        """The reply is the same if the question arrives in pieces."""
        question, expected = self.exchange
        with self.serving(combination) as trial:
            for size in sorted({max(1, len(question) // _PIECES), len(question) // 2 or 1}):
                client = trial.connect()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                with contextlib.suppress(ConnectionError):  # the handler may need no more; the reply shows it
                    for start in range(0, len(question), size):
                        client.sendall(question[start : start + size])
                        time.sleep(0.001)  # the handler gets this piece before the next is sent
                self._assert_reply(converse(client, b""), expected)
                client.close()

    @Needs(concurrent=True)
    def test_many_at_once(self, combination: str) -> None:
        """Each of ``client_count`` clients that connect at the same time gets its own reply."""
        with self.serving(combination) as trial, ThreadPoolExecutor(self.client_count) as clients:
            for done in [clients.submit(self.assert_replies, trial) for _ in range(self.client_count)]:
                done.result()

    @Needs(transport="stream")
    def test_client_that_disconnects_early(self, combination: str) -> None:
        """A client that disconnects in the middle of its question affects no other."""
        question, _ = self.exchange
        with self.serving(combination) as trial:
            for size in sorted({0, len(question) // 2, len(question)}):
                with trial.connect() as client:
                    client.sendall(question[:size])
                send_and_close(trial.servers[0], question[:size], reset=True, wait=False)
                self.assert_replies(trial)

    @Needs(transport="stream", concurrent=True)
    def test_silent_client(self, combination: str) -> None:
        """A client that sends nothing, or half of its question, delays neither others nor the drain."""
        question, _ = self.exchange
        with self.serving(combination) as trial:
            for size in (0, len(question) // 2):
                trial.connect().sendall(question[:size])
            self.assert_replies(trial)
            trial.drain(0.1)
            trial.join()

    @Needs(transport="stream", concurrent=True)
    def test_client_that_does_not_read(self, combination: str) -> None:
        """A client that does not read its reply delays neither others nor the drain."""
        with self.serving(combination) as trial:
            client = trial.connect()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(self.exchange[0])
            client.shutdown(socket.SHUT_WR)
            client.recv(1, socket.MSG_PEEK)  # the reply has begun
            self.assert_replies(trial)
            trial.drain(0.1)
            trial.join()

    @Needs(transport="datagram")
    def test_unexpected_datagrams(self, combination: str) -> None:
        """Datagrams that the handler does not expect, and clients that are closed, affect no other client."""
        question, _ = self._datagram_exchange()
        with self.serving(combination) as trial:
            for datagram in (b"", b"\xff\0" * 500, question[: len(question) // 2], question):
                with trial.connect() as client:
                    client.send(datagram)
            trial.outcomes(4)
            self.assert_replies(trial)
