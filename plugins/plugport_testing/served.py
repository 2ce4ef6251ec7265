"""ServedService: a service that runs in a thread of a test, with its clients and what its hooks tell."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from plugport.combination import assign_plugin_options
from plugport.contracts import SERVER_HOOKS, ServerHooks, nearest
from plugport.errors import UnknownNameError
from plugport.plugin import PluginRecord, Plugins, entry_points
from plugport.serving import Service, build_server, parse_url
from plugport_testing.clients import ClientSocket, converse, dial
from plugport_testing.leaks import socket_files
from plugport_testing.waiting import PATIENCE, wait_until, within

__all__ = ["Event", "ServedService", "free_url"]


class Event(NamedTuple):
    """One call of a hook: its name without the prefix, and its arguments by name."""

    hook: str
    arguments: dict[str, Any]


class ServedService:
    """Servers that share a handler, run by a Service in a thread of this process.

    ``server``      the first server; ``servers``: all
    ``service``     the Service that runs them
    ``events``      the calls of hooks, in their order; service_actions is left out

    *patience*: seconds that anything may take. *plugins*: objects or modules whose hookimpls are
    called, or names of installed plugins; those of other installed plugins are not. *options*: of
    these, by ``NAME.KEY``; a module's name is its own. Whoever uses it ends it by stop().

    The process forks while the thread runs, under a strategy that forks. A child runs one handler,
    which must not need a lock that another thread of the test holds.
    """

    def __init__(
        self,
        patience: float = PATIENCE,
        plugins: Iterable[object] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.patience = patience
        self.servers: list[Any] = []
        self.events: list[Event] = []
        self._hooks = self._recording(_hooks_of(plugins, options or {}))
        self._clients = contextlib.ExitStack()
        self._resources = contextlib.ExitStack()
        folder = self._resources.enter_context(tempfile.TemporaryDirectory(prefix="plugport-"))
        #: For socket files; removed at the end.
        self.folder = Path(folder)
        self._thread: threading.Thread | None = None
        self._began = False
        self._settled = threading.Event()  # it has begun to serve, or it has ended
        self._error: BaseException | None = None
        self._stopped = False

    def _recording(self, hooks: ServerHooks) -> ServerHooks:
        """Return hooks that note down each call, when *hooks* have had it: who waits sees their effects."""

        def recorded(name: str) -> Callable[..., Any]:
            call = getattr(hooks, name)

            def hook(**arguments: Any) -> Any:
                try:
                    return call(**arguments) if call is not None else True
                finally:
                    self.events.append(Event(name, arguments))

            return hook

        names = [name for name in SERVER_HOOKS if name != "service_actions"]
        calls = {name: recorded(name) for name in names}
        if hooks.service_actions is not None:
            calls["service_actions"] = hooks.service_actions
        return ServerHooks(**calls)

    # What it is -----------------------------------------------------------------------------------

    @property
    def server(self) -> Any:
        """The first of the servers."""
        return self.servers[0]

    @property
    def url(self) -> str:
        """Where the first server listens, with the real port."""
        url: str = self.server.listening_url()
        return url

    @property
    def address(self) -> Any:
        """The socket address of the first server."""
        return self.server.server_address

    @cached_property
    def service(self) -> Service:
        """What runs the servers."""
        return Service(self.servers, self.patience / 4, self._announce)

    # Its life -------------------------------------------------------------------------------------

    def add(self, server_class: Any, url: str, handler: Any, handler_name: str) -> Any:
        """Bind a server; it serves from start() on. *url* may be a scheme alone: see free_url()."""
        folder = self.folder / str(len(self.servers))
        folder.mkdir()
        url = url.format(folder=folder) if "://" in url else free_url(url, server_class, folder)
        server = build_server(
            server_class, parse_url(url), handler, handler_name=handler_name, hooks=self._hooks
        )
        self.servers.append(server)
        return server

    def start(self) -> None:
        """Serve in a thread; return when the servers do. Raises what keeps them from it."""
        self._launch(self.service.run)
        assert self._settled.wait(self.patience), f"does not begin to serve in {self.patience:g} s"
        if not self._began:
            self.join()

    def _announce(self, server: Any) -> None:
        if server is self.servers[-1]:
            self._began = True
            self._settled.set()

    def _launch(self, serve: Callable[[], object]) -> None:
        def run() -> None:
            try:
                serve()
            except BaseException as error:
                self._error = error
            finally:
                self._settled.set()

        self._thread = threading.Thread(target=run, name="service", daemon=True)
        self._thread.start()

    def is_serving(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread is not None and self._thread.is_alive()

    def join(self) -> None:
        """Wait until the service has ended; raise what it raised."""
        if self._thread is not None:
            self._thread.join(self.patience)
            active = [context for server in self.servers for context in server.active_requests.values()]
            assert not self._thread.is_alive(), f"the service does not end (active: {active})"
        if self._error is not None:
            raise self._error
        assert not self.service.abandoned, "requests would not end, even after they were cut"

    def stop(self) -> None:
        """Close the clients, drain, close the servers. May be called again.

        Raises what the service raised, AssertionError if it or a request of it does not end, or if
        it leaves a socket file.
        """
        if self._stopped:
            return
        self._stopped = True
        try:
            with contextlib.ExitStack() as steps:
                steps.callback(self._resources.close)
                steps.callback(self.check)
                for server in self.servers:
                    steps.callback(within, self.patience, "server_close()", server.server_close)
                self._clients.close()
                if self.is_serving():
                    self.service.stop()
                elif self._thread is None:
                    self.service.close()
                self.join()
        except BaseException:
            self._force()
            raise

    def check(self) -> None:
        """Look, when all is closed and the folder still there, for what should not be."""
        left = socket_files(self.folder)
        assert not left, f"left behind: socket file {', '.join(map(str, left))}"

    def abandon(self) -> None:
        """End all that can be ended, when the test has failed already."""
        self._force()
        with contextlib.suppress(Exception):
            self.stop()

    def _force(self) -> None:
        for step in (self._cut, self.join, self._shut_down, self.join):
            with contextlib.suppress(Exception):
                step()

    def _cut(self) -> None:
        for server in self.servers:
            server.drain(0.0)

    def _shut_down(self) -> None:
        for server in self.servers:
            within(self.patience / 4, "shutdown()", server.shutdown)

    # Its clients ----------------------------------------------------------------------------------

    def connect(self) -> ClientSocket:
        """Return a socket that is connected to the first server; it is closed at the end, if not before.

        Each call on it may take ``patience`` seconds (TimeoutError). On a server of datagrams
        send() and recv() are one datagram each.
        """
        client = dial(self.server, self.patience, self.folder)
        self._clients.enter_context(client)
        return client

    def exchange(self, data: bytes, size: int | None = None) -> bytes:
        """Send *data* as a new client, and return what comes back.

        On a connection: all that comes until its end, after the server was told that there is no
        more to come; with *size* so many bytes, and it was not told. On a server of datagrams:
        the one that comes back.
        """
        with dial(self.server, self.patience, self.folder) as client:
            if self.server.is_stream():
                return converse(client, data, size)
            client.send(data)
            return client.recv(2**20)

    # What its hooks tell --------------------------------------------------------------------------

    def wait_for_event(self, name: str, timeout: float | None = None, *, count: int = 1) -> dict[str, Any]:
        """Wait until a hook has been called *count* times; return the arguments of that call.

        *name*: the hook's, without its prefix: "request_finished". *timeout*: seconds, ``patience``
        if None. AssertionError if it is not called, ValueError if there is no such hook.
        """
        if name not in SERVER_HOOKS or name == "service_actions":
            raise ValueError(f"no hook named {name!r} is noted{nearest(name, SERVER_HOOKS)}")

        def called() -> list[dict[str, Any]]:
            return [event.arguments for event in tuple(self.events) if event.hook == name]

        timeout = self.patience if timeout is None else timeout
        try:
            wait_until(lambda: len(called()) >= count, timeout, name)
        except AssertionError as error:
            told = ", ".join(event.hook for event in tuple(self.events))
            raise AssertionError(f"{error} x {count}; what came is: {told}") from None
        return called()[count - 1]


def _hooks_of(plugins: Iterable[object], options: Mapping[str, Any]) -> ServerHooks:
    loaded = Plugins(strict=True)
    for number, plugin in enumerate(plugins):
        if isinstance(plugin, str):
            _load(loaded, plugin)
            continue
        name = getattr(plugin, "__name__", type(plugin).__name__)
        loaded.add(plugin, PluginRecord(name, f"test-{number}", ""))
    return loaded.server_hooks(assign_plugin_options(loaded, options))


def _load(plugins: Plugins, name: str) -> None:
    """Load the installed plugin *name*, or all of the distribution *name*. Raises UnknownNameError."""
    found = [
        (point, record)
        for point in entry_points("plugport")
        for record in [PluginRecord(point.name, point.distribution, point.version)]
        if record.answers_to(name)
    ]
    if not found:
        raise UnknownNameError(f"no plugin named {name!r} (plugport list plugins)")
    for point, record in found:
        plugins.load(point, record)


def free_url(scheme: str, server_class: Any, folder: Path) -> str:
    """Return a URL at which a server can be bound now: a path in *folder*, or a port of the loopback."""
    if server_class.address_family == getattr(socket, "AF_UNIX", None):
        return f"{scheme}://{folder}/socket"
    return f"{scheme}://127.0.0.1:0"
