"""HandlerConformance: a handler gives its answer under every strategy, whatever its clients do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

from plugport.combination import check
from plugport.registry import default_registry
from plugport.styles import transports_of
from plugport.testing.conformance.base import Conformance
from plugport.testing.served import ServedService
from plugport.testing.serving import resolve, serve

__all__ = ["HandlerConformance"]


class HandlerConformance(Conformance):
    """The cases of a handler::

        class TestUpper(HandlerConformance):
            handler = "upper"
            exchange = (b"hello", b"HELLO")

    Each is run on a server of each kind that the handler serves, under every strategy that is
    installed and legal for it: "tcp-threading".
    """

    parameter: ClassVar[str] = "combination"

    #: The handler: a class or function, or the name of one that is installed.
    handler: ClassVar[Any]
    #: What is sent, and what comes back: on a connection all of it until the end, or one datagram.
    exchange: ClassVar[tuple[bytes, bytes]]
    #: The same for datagrams, where it differs.
    datagrams: ClassVar[tuple[bytes, bytes] | None] = None

    _combinations: ClassVar[list[str]]

    @classmethod
    def prepare(cls) -> bool:
        """Find the combinations that are legal."""
        if not hasattr(cls, "handler"):
            return False
        handler = resolve("handler", cls.handler)
        registry = default_registry()
        cls._combinations = [
            f"{server}-{strategy.selector}"
            for transport, server in (("stream", "tcp"), ("datagram", "udp"))
            if transport in transports_of(handler)
            for strategy in registry.entries("concurrency")
            if check(handler, server, strategy, registry).legal
        ]
        return True

    @classmethod
    def values(cls, case: Any) -> tuple[str, ...]:
        """Return the combinations that a case is run for."""
        return tuple(cls._combinations)

    @contextlib.contextmanager
    def serving(self, combination: str, **options: Any) -> Iterator[ServedService]:
        """Serve the handler in that combination until the block ends."""
        server, _, strategy = combination.partition("-")
        options = {**self.members, **options}
        served = serve(self.handler, server, strategy, patience=self.patience, options=options)
        try:
            yield served
        except BaseException:
            served.abandon()
            raise
        served.stop()

    def test_exchange(self, combination: str) -> None:
        """The answer is what it is said to be, for each of two clients."""
        with self.serving(combination) as served:
            question, answer = self.exchange
            for _ in range(2):
                assert served.exchange(question) == answer
