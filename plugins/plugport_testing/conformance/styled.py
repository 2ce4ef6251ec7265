"""StyledConformance: the cases of one strategy on one server, run for each style of handlers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any, ClassVar

from plugport.combination import check, compose
from plugport.contracts import StrategyTraits, configure, strategy_traits
from plugport.handlers import STYLES, Style
from plugport_testing.conformance.base import Conformance, Needs
from plugport_testing.conformance.clients import Client
from plugport_testing.conformance.trial import Trial
from plugport_testing.serving import resolve

__all__ = ["StyledConformance"]


class StyledConformance(Conformance):
    """Cases that take the style of the handler, and are run for every style that is legal.

    What makes no sense for a strategy, by its traits, is no method of the subclass.
    """

    parameter: ClassVar[str] = "style"

    #: The strategy: a mix-in class, or the name of one that is installed.
    strategy: ClassVar[Any]
    #: The server: a class without a strategy, or the name of one that is installed.
    server: ClassVar[Any] = "tcp"
    #: Where it listens, {folder} being a new folder; "" for a free address of the server's kind.
    url: ClassVar[str] = ""

    #: Whether the strategy serves one client after the other. Set for each subclass, as are:
    is_serial: ClassVar[bool]
    _traits: ClassVar[StrategyTraits]
    _server_class: ClassVar[Any]
    _legal: ClassVar[set[Style]]

    @classmethod
    def prepare(cls) -> bool:
        """Compose the server and the strategy, and find the styles that are legal."""
        if not hasattr(cls, "strategy"):
            return False
        server_class, strategy = resolve("server", cls.server), resolve("concurrency", cls.strategy)
        cls._server_class = configure(compose(server_class, strategy), cls.options)
        cls._traits = strategy_traits(strategy)
        cls._legal = {style for style in STYLES if check(cls.handler(style), server_class, strategy).legal}
        cls.is_serial = cls._traits.serial
        return True

    @classmethod
    def values(cls, needs: Needs) -> tuple[str, ...]:
        """Return the styles that a case is run for."""
        return tuple(sorted(cls._legal & _styles_for(needs, cls._traits), key=STYLES.index))

    # What a subclass may override -----------------------------------------------------------------

    @classmethod
    def handler(cls, style: str, **members: Any) -> Any:
        """Return the handler of the cases in that style."""
        raise NotImplementedError

    def connect(self, server: Any) -> Any:
        """Return a socket that is connected to *server*: for TLS and its like, after the handshake."""
        return self.secure(self.dial(server))

    def secure(self, sock: Any) -> Any:
        """Return what a connected socket becomes: for TLS and its like, after the handshake."""
        return sock

    def dial(self, server: Any) -> Any:
        """Return a socket that is connected to *server*, and on which nothing was said yet."""
        sock = socket.socket(server.socket.family, server.socket.type)
        sock.settimeout(self.patience)
        try:
            sock.connect(server.server_address)
        except BaseException:
            sock.close()
            raise
        return sock

    # For the cases ----------------------------------------------------------------------------------

    def client(self, trial: Trial, index: int = 0) -> Client:
        """Connect to a server of the trial."""
        return Client(self.connect(trial.servers[index]))

    @contextlib.contextmanager
    def serving(
        self, style: str, *, listeners: int = 1, start: bool = True, fails_in: str = "", **members: Any
    ) -> Iterator[Trial]:
        """Serve the handler of that style until the block ends, by servers with these members."""
        with self.open_trial() as trial:
            handler = self.handler(style, fails_in=fails_in, progress=trial.progress, gate=trial.gate)
            url = self.url or (self.server if isinstance(self.server, str) else self.server.scheme)
            for _ in range(listeners):
                trial.add(configure(self._server_class, members), url, handler, "conformance")
            if start:
                trial.start()
            yield trial


def _styles_for(needs: Needs, traits: StrategyTraits) -> set[Style]:
    styles = set(needs.styles)
    if (needs.concurrent or needs.isolated) and traits.serial:
        return set()
    if needs.isolated and not traits.isolates_memory:
        return {style for style in styles if traits.runs_in_threads(style)}
    return styles
