"""ServerCases: the attributes of a suite for servers, and how its cases serve."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import ClassVar

from plugport import BaseServer
from plugport.combination import check
from plugport.contracts import Handler, configure, strategy_traits
from plugport_testing.conformance.base import Conformance, Needs
from plugport_testing.conformance.clients import Client
from plugport_testing.conformance.jobs import datagram_handler, stream_handler
from plugport_testing.conformance.trial import Trial
from plugport_testing.serving import combine, resolve, scheme_of

__all__ = ["ServerCases"]

#: Native to most strategies, and with the fewest demands on a request.
_STYLE = "blocking"


class ServerCases(Conformance):
    """Cases of a server class. Those that serve take the name of a strategy, and run under each."""

    parameter: ClassVar[str] = "strategy"
    subject: ClassVar[tuple[str, str]] = ("server", '"NAME" or a server class')

    #: The server: a class without a strategy, or the name of an installed one.
    server: ClassVar[str | type]
    #: Where it listens, {folder} being a new folder; "" for a free address of the server's kind.
    url: ClassVar[str] = ""
    #: The strategies under which it must serve, if they can serve it.
    strategies: ClassVar[tuple[str | type, ...]] = ("sync", "threading", "select")

    _class: ClassVar[type[BaseServer]]
    _strategies: ClassVar[dict[str, type]]

    @classmethod
    def prepare(cls) -> None:
        """Look up the class and the strategies."""
        cls._class = combine(_handler(True), cls.server, None, {}).server_class
        strategies = {
            getattr(one, "__name__", str(one)): resolve("concurrency", one) for one in cls.strategies
        }
        cls._strategies = {
            name: strategy
            for name, strategy in strategies.items()
            if check(_handler(cls.is_stream()), cls._class, strategy).legal
        }

    @classmethod
    def values(cls, needs: Needs) -> tuple[str, ...]:
        """Return the strategies that a case with these needs runs under."""
        if (
            (needs.transport is not None and (needs.transport == "stream") is not cls.is_stream())
            or (needs.option is not None and not hasattr(cls._class, needs.option))
            or (needs.port and cls._has_file())
            or (needs.file and not cls._has_file())
        ):
            return ()
        serial = {name for name, one in cls._strategies.items() if strategy_traits(one).serial}
        return tuple(name for name in cls._strategies if not (needs.concurrent and name in serial))

    @classmethod
    def _has_file(cls) -> bool:
        return getattr(cls._class, "address_family", None) == getattr(socket, "AF_UNIX", -1)

    @classmethod
    def is_stream(cls) -> bool:
        """Return whether requests are connections."""
        return cls._class.is_stream()

    # Methods that a subclass may override ---------------------------------------------------------

    def connect(self, trial: Trial) -> socket.socket:
        """Return a socket connected to the server of the trial; with TLS, after the handshake."""
        return trial.connect()

    # For the cases --------------------------------------------------------------------------------

    def client(self, trial: Trial) -> Client:
        """Connect to the server of the trial."""
        return Client(self.connect(trial))

    @contextlib.contextmanager
    def binding(self, strategy: str | None = None, url: str = "", **members: object) -> Iterator[Trial]:
        """Bind a server with these class attributes until the block ends; it does not serve yet."""
        with self.open_trial() as trial:
            self.add(trial, strategy, url, **members)
            yield trial

    @contextlib.contextmanager
    def serving(self, strategy: str, **members: object) -> Iterator[Trial]:
        """Serve under that strategy until the block ends."""
        with self.binding(strategy, "", **members) as trial:
            trial.start()
            yield trial

    def add(self, trial: Trial, strategy: str | None = None, url: str = "", **members: object) -> BaseServer:
        """Bind one more server of the class; ListenError if it can't be bound."""
        handler = _handler(self.is_stream(), progress=trial.progress, gate=trial.gate)
        concurrency = None if strategy is None else self._strategies[strategy]
        server_class, *_ = combine(handler, self.server, concurrency, {})
        server_class = configure(server_class, {**self.options, **members})
        return trial.add(server_class, url or self.url or scheme_of(self.server), handler, "conformance")

    def assert_replies(self, trial: Trial) -> None:
        """Assert that a new client is served."""
        with self.client(trial) as client:
            if self.is_stream():
                reply = client.ask(b"hello")
            else:
                client.sock.send(b"hello")
                reply = client.sock.recv(100)
        assert reply == b"hello", f"a client that sends b'hello' gets {reply!r}"

    def assert_refused(self, trial: Trial) -> None:
        """Assert that a new client can't connect."""
        with contextlib.suppress(OSError):
            self.connect(trial).close()
            raise AssertionError("a client connects to a server that has stopped listening")


def _handler(stream: bool, **attributes: object) -> Handler:
    return stream_handler(_STYLE, **attributes) if stream else datagram_handler(_STYLE)
