"""StyledConformance: the cases of one strategy on one server, which run for each style of handlers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import ClassVar

from plugport import BaseServer
from plugport.combination import check, compose
from plugport.contracts import Handler, StrategyTraits, configure, strategy_traits
from plugport.handlers import STYLES, Style
from plugport_testing.clients import target_of
from plugport_testing.conformance.base import Conformance, Needs
from plugport_testing.conformance.clients import Client
from plugport_testing.conformance.trial import Trial
from plugport_testing.serving import resolve, scheme_of

__all__ = ["StyledConformance"]


class StyledConformance(Conformance):
    """Cases that take the style of the handler, and run for every legal style.

    A case that contradicts a trait of the strategy is None in the subclass.
    """

    parameter: ClassVar[str] = "style"
    subject: ClassVar[tuple[str, str]] = ("strategy", '"NAME" or a mix-in class')

    #: The strategy: a mix-in class, or the name of an installed one.
    strategy: ClassVar[str | type]
    #: The server: a class without a strategy, or the name of an installed one.
    server: ClassVar[str | type] = "tcp"
    #: Where it listens, {folder} being a new folder; "" for a free address of the server's kind.
    url: ClassVar[str] = ""

    #: Whether the strategy serves one client after the other. Set by prepare(), as are the following.
    is_serial: ClassVar[bool]
    _traits: ClassVar[StrategyTraits]
    _server_class: ClassVar[type[BaseServer]]
    _legal: ClassVar[set[Style]]

    @classmethod
    def prepare(cls) -> None:
        """Compose the server and the strategy, and find the legal styles."""
        server_class, strategy = resolve("server", cls.server), resolve("concurrency", cls.strategy)
        cls._server_class = configure(compose(server_class, strategy), cls.options)
        cls._traits = strategy_traits(strategy)
        cls._legal = {style for style in STYLES if check(cls.handler(style), server_class, strategy).legal}
        cls.is_serial = cls._traits.serial

    @classmethod
    def values(cls, needs: Needs) -> tuple[str, ...]:
        """Return the styles that a case with these needs runs for."""
        return tuple(sorted(cls._legal & _styles_for(needs, cls._traits), key=STYLES.index))

    # Methods that a subclass may override ---------------------------------------------------------

    @classmethod
    def handler(cls, style: Style, **attributes: object) -> Handler:
        """Return the handler of the cases in that style, with these class attributes."""
        raise NotImplementedError

    def connect(self, server: BaseServer) -> socket.socket:
        """Return a socket connected to *server*; with TLS, after the handshake."""
        return self.secure(self.dial(server))

    def secure(self, sock: socket.socket) -> socket.socket:
        """Return the socket to use in place of a connected one; with TLS, after the handshake."""
        return sock

    def dial(self, server: BaseServer) -> socket.socket:
        """Return a socket connected to *server*, on which nothing has been sent yet."""
        family, kind, address = target_of(server)
        sock = socket.socket(family, kind)
        sock.settimeout(self.patience)
        try:
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock

    # For the cases --------------------------------------------------------------------------------

    def client(self, trial: Trial, index: int = 0) -> Client:
        """Connect to a server of the trial."""
        return Client(self.connect(trial.servers[index]))

    def serving(
        self, style: Style, *, listeners: int = 1, start: bool = True, fails_in: str = "", **options: object
    ) -> AbstractContextManager[Trial]:
        """Serve the handler of that style until the block ends, by servers with these options.

        *listeners*: the number of servers. *start*: False to bind them only. *fails_in*: see jobs.
        """
        server_class = configure(self._server_class, options)
        return self.serving_class(server_class, style, listeners=listeners, start=start, fails_in=fails_in)

    @contextlib.contextmanager
    def serving_class(
        self,
        server_class: type[BaseServer],
        style: Style,
        *,
        listeners: int = 1,
        start: bool = True,
        fails_in: str = "",
    ) -> Iterator[Trial]:
        """Serve as serving() does, by servers of *server_class*."""
        with self.open_trial() as trial:
            handler = self.handler(style, fails_in=fails_in, progress=trial.progress, gate=trial.gate)
            url = self.url or scheme_of(self.server)
            for _ in range(listeners):
                trial.add(server_class, url, handler, "conformance")
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
