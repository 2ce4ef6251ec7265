"""Conformance: what is tested, and which cases and styles make sense for it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, TypeVar

from plugport.combination import check, compose, traits_of
from plugport.options import configure
from plugport.registry import default_registry
from plugport.styles import STYLES, Style
from plugport.testing.conformance.clients import Client
from plugport.testing.conformance.trial import Trial
from plugport.testing.conformance.waiting import wait_until, within

__all__ = ["Conformance", "case"]

Case = TypeVar("Case", bound=Callable[..., None])


def case(
    *, concurrent: bool = False, isolated: bool = False, styles: Iterable[Style] = STYLES
) -> Callable[[Case], Case]:
    """Say of a case what it needs.

    *concurrent*: several clients at once, which a serial strategy does not serve. *isolated*: a
    thread or process for each request, as a handler that blocks needs one. *styles*: those that
    can do what it is about.
    """

    def mark(function: Case) -> Case:
        function._needs = (concurrent, isolated, frozenset(styles))  # type: ignore[attr-defined]
        return function

    return mark


class Conformance:
    """Cases for one strategy and server; a subclass named ``Test...`` is collected by pytest.

    Each method ``test_...`` takes the style of the handler, and is run for every style that is
    legal. What makes no sense for a strategy, by its traits, is no method of the subclass. None
    needs a fixture, so that the cases can also be called: see cases().
    """

    #: The strategy: a mix-in class, or the name of one that is installed.
    strategy: ClassVar[Any]
    #: The server: a class without a strategy, or the name of one that is installed.
    server: ClassVar[Any] = "tcp"
    #: Where it listens; {folder} stands for a new folder.
    url: ClassVar[str] = "tcp://127.0.0.1:0"
    #: Member variables of both that a case does not set by itself.
    members: ClassVar[dict[str, Any]] = {}
    #: Seconds that anything may take on a slow machine.
    patience: ClassVar[float] = 10.0

    #: Whether the strategy serves one client after the other. Set for each subclass, as are:
    is_serial: ClassVar[bool]
    #: the class composed of both, and the cases with the styles that each is run for.
    _server_class: ClassVar[Any]
    _styles_of: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "strategy"):
            return
        server_class, strategy = _resolve("server", cls.server), _resolve("concurrency", cls.strategy)
        cls._server_class = configure(compose(server_class, strategy), cls.members)
        legal = {style for style in STYLES if check(cls.handler(style), server_class, strategy).legal}
        traits = traits_of(strategy)
        cls.is_serial = traits["serial"]
        cls._styles_of = {}
        for name in dir(cls):
            method = getattr(cls, name)
            if name.startswith("test_") and method is not None:
                styles = legal & _styles_for(method, traits)
                if styles:
                    cls._styles_of[name] = tuple(sorted(styles, key=STYLES.index))
                else:
                    setattr(cls, name, None)

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Run a case for each of its styles. (A hook of pytest's.)"""
        if "style" in metafunc.fixturenames:
            metafunc.parametrize("style", self._styles_of[metafunc.function.__name__])

    @classmethod
    def cases(cls) -> Iterator[tuple[str, str]]:
        """Yield the name of each case, with each of its styles: ``getattr(cls(), name)(style)``."""
        for name, styles in cls._styles_of.items():
            for style in styles:
                yield name, style

    # What a subclass may override -----------------------------------------------------------------

    @classmethod
    def handler(cls, style: str, **members: Any) -> Any:
        """Return the handler of the cases in that style."""
        raise NotImplementedError

    def connect(self, server: Any) -> Any:
        """Return a socket that is connected to *server*: for TLS and its like, after the handshake."""
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
        trial = Trial(self.patience)
        try:
            handler = self.handler(style, fails_in=fails_in, progress=trial.progress, gate=trial.gate)
            for _ in range(listeners):
                trial.add(configure(self._server_class, members), self.url, handler)
            if start:
                trial.start()
            yield trial
        except BaseException:
            trial.abandon()
            raise
        trial.close()

    def wait_until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for *condition*; see waiting.wait_until()."""
        return wait_until(condition, self.patience, what)

    def within(self, what: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call *function*, which must return in time; see waiting.within()."""
        return within(self.patience, what, function, *args)


def _resolve(kind: Any, what: Any) -> Any:
    return default_registry().get(kind, what) if isinstance(what, str) else what


def _styles_for(method: Any, traits: dict[str, Any]) -> set[str]:
    concurrent, isolated, styles = getattr(method, "_needs", (False, False, frozenset(STYLES)))
    if (concurrent or isolated) and traits["serial"]:
        return set()
    if isolated and not traits["isolates_memory"]:
        threaded = traits["multithreaded"]
        return set(styles if threaded else ()) if isinstance(threaded, bool) else set(styles & set(threaded))
    return set(styles)
