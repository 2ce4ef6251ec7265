"""ServerCases: what a suite for servers is about, and how its cases serve."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any, ClassVar

from plugport.combination import check
from plugport.contracts import configure, strategy_traits
from plugport_testing.conformance.base import Conformance, Needs
from plugport_testing.conformance.clients import Client
from plugport_testing.conformance.jobs import datagram_handler, stream_handler
from plugport_testing.conformance.trial import Trial
from plugport_testing.serving import combine, resolve

__all__ = ["ServerCases"]

#: A blocking handler is native to most strategies, and asks least of a request.
_STYLE = "blocking"


class ServerCases(Conformance):
    """Cases of a server class. Those that serve take the name of a strategy, and are run under each."""

    parameter: ClassVar[str] = "strategy"

    #: The server: a class without a strategy, or the name of one that is installed.
    server: ClassVar[Any]
    #: Where it listens, {folder} being a new folder; "" for a free address of the server's kind.
    url: ClassVar[str] = ""
    #: The strategies under which it must serve, where they are installed and can serve it.
    strategies: ClassVar[tuple[Any, ...]] = ("sync", "threading", "select")

    _class: ClassVar[Any]
    _strategies: ClassVar[dict[str, Any]]

    @classmethod
    def prepare(cls) -> bool:
        """Find the class and the strategies."""
        if not hasattr(cls, "server"):
            return False
        cls._class = combine(_handler(True), cls.server, None, {}).server_class
        strategies = {getattr(one, "__name__", one): resolve("concurrency", one) for one in cls.strategies}
        cls._strategies = {
            name: strategy
            for name, strategy in strategies.items()
            if check(_handler(cls.is_stream()), cls._class, strategy).legal
        }
        return True

    @classmethod
    def values(cls, needs: Needs) -> tuple[str, ...]:
        """Return the strategies under which a case makes sense."""
        if (
            (needs.transport is not None and (needs.transport == "stream") is not cls.is_stream())
            or (needs.member is not None and not hasattr(cls._class, needs.member))
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
        """Whether requests are connections."""
        stream: bool = cls._class.is_stream()
        return stream

    # What a subclass may override -----------------------------------------------------------------

    def connect(self, trial: Trial) -> Any:
        """Return a socket that is connected to the trial's server: for TLS after the handshake."""
        return trial.connect()

    # For the cases ----------------------------------------------------------------------------------

    def client(self, trial: Trial) -> Client:
        """Connect to the server of the trial."""
        return Client(self.connect(trial))

    @contextlib.contextmanager
    def binding(self, strategy: str | None = None, url: str = "", **members: Any) -> Iterator[Trial]:
        """Bind a server with these members until the block ends; it does not serve yet."""
        with self.open_trial() as trial:
            self.add(trial, strategy, url, **members)
            yield trial

    @contextlib.contextmanager
    def serving(self, strategy: str, **members: Any) -> Iterator[Trial]:
        """Serve under that strategy until the block ends."""
        with self.binding(strategy, **members) as trial:
            trial.start()
            yield trial

    def add(self, trial: Trial, strategy: str | None = None, url: str = "", **members: Any) -> Any:
        """Bind one more server of the class; ListenError if it can't be."""
        handler = _handler(self.is_stream(), progress=trial.progress, gate=trial.gate)
        concurrency = None if strategy is None else self._strategies[strategy]
        server_class, *_ = combine(handler, self.server, concurrency, {})
        server_class = configure(server_class, {**self.options, **members})
        return trial.add(server_class, url or self.url or self.scheme(), handler, "conformance")

    def assert_answers(self, trial: Trial) -> None:
        """A new client is served."""
        with self.client(trial) as client:
            if self.is_stream():
                answer = client.ask(b"hello")
            else:
                client.sock.send(b"hello")
                answer = client.sock.recv(100)
        assert answer == b"hello", f"a client that says b'hello' is answered {answer!r}"

    def assert_refused(self, trial: Trial) -> None:
        """A new client can't connect."""
        with contextlib.suppress(OSError):
            self.connect(trial).close()
            raise AssertionError("a client connects to a server that listens no more")

    def scheme(self) -> str:
        """Return the scheme of the server's URLs."""
        return self.server if isinstance(self.server, str) else self.server.scheme


def _handler(stream: bool, **members: Any) -> Any:
    return stream_handler(_STYLE, **members) if stream else datagram_handler(_STYLE)
