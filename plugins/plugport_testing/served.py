"""ServedService: a service in a thread of the test, with its clients and a record of its hook calls."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from plugport import BaseServer
from plugport.combination import assign_plugin_options
from plugport.contracts import SERVER_HOOKS, Handler, ServerAddress, ServerHooks, nearest
from plugport.errors import UnknownNameError
from plugport.plugin import PluginRecord, Plugins, entry_points
from plugport.serving import Service, build_server, parse_url
from plugport_testing.clients import ClientSocket, converse, dial
from plugport_testing.leaks import socket_files
from plugport_testing.waiting import PATIENCE, wait_until, within

__all__ = ["Event", "ServedService", "free_url"]

#: Called in each turn of the loop: too often to be recorded.
_UNRECORDED = "service_actions"


class Event(NamedTuple):
    """One call of a hook: its name without the prefix, and its arguments by name."""

    hook: str
    arguments: dict[str, Any]


class ServedService:
    """Servers that share a handler, run by a Service in a thread of this process.

    ``server``      the first server; ``servers``: all
    ``service``     the Service that runs them
    ``events``      the calls of hooks in their order, without service_actions

    *patience*: the longest wait in seconds. *plugins*: objects or modules whose hookimpls are called, or
    names of installed plugins; other installed plugins have no effect. *options*: of these plugins, by
    ``NAME.KEY``; an object's name is its ``__name__`` or that of its class. The user must call stop() at the
    end.

    Under a strategy that forks, the process forks while the thread runs. A child runs one handler, which must
    not need a lock that another thread of the test holds.
    """

    def __init__(
        self,
        patience: float = PATIENCE,
        plugins: Iterable[object] = (),
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.patience = patience
        self.servers: list[BaseServer] = []
        self.events: list[Event] = []
        self._hooks = self._with_recording(_hooks_of(plugins, options or {}))
        self._clients = contextlib.ExitStack()
        #: What stop() closes last.
        self.resources = contextlib.ExitStack()
        folder = self.resources.enter_context(tempfile.TemporaryDirectory(prefix="plugport-"))
        #: For socket files; removed at the end.
        self.folder = Path(folder)
        self._thread: threading.Thread | None = None
        self._has_started = False
        #: Set once all servers serve, or the thread has ended.
        self._started_or_ended = threading.Event()
        self._error: BaseException | None = None
        self._stopped = False

    def _with_recording(self, hooks: ServerHooks) -> ServerHooks:
        """Return hooks that record each call after *hooks*, so that a recorded call has had its effects."""

        def recorded(name: str) -> Callable[..., object]:
            call = getattr(hooks, name)

            def hook(**arguments: object) -> object:
                try:
                    return call(**arguments) if call is not None else True
                finally:
                    self.events.append(Event(name, arguments))

            return hook

        calls = {name: recorded(name) for name in SERVER_HOOKS if name != _UNRECORDED}
        if hooks.service_actions is not None:
            calls[_UNRECORDED] = hooks.service_actions
        return ServerHooks(**calls)

    # Its parts ------------------------------------------------------------------------------------

    @property
    def server(self) -> Any:
        """The first of the servers: a BaseServer, with the attributes of its own class."""
        return self.servers[0]

    @property
    def url(self) -> str:
        """The URL of the first server, with the real port."""
        return self.servers[0].listening_url()

    @property
    def address(self) -> ServerAddress:
        """The socket address of the first server."""
        return self.servers[0].server_address

    @cached_property
    def service(self) -> Service:
        """The Service that runs the servers."""
        return Service(self.servers, self.patience / 4, self._announce)

    # Start and stop -------------------------------------------------------------------------------

    def add(
        self, server_class: type[BaseServer], url: str, handler: Handler, handler_name: str
    ) -> BaseServer:
        """Bind a server, which serves from start() on. *url* may be a scheme alone: see free_url()."""
        folder = self.folder / str(len(self.servers))
        folder.mkdir()
        url = url.format(folder=folder) if "://" in url else free_url(url, server_class, folder)
        server = build_server(
            server_class, parse_url(url), handler, handler_name=handler_name, hooks=self._hooks
        )
        self.servers.append(server)
        return server

    def start(self) -> None:
        """Serve in a thread; return when all servers serve. Raises the error that prevents it."""
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)
        self._thread.start()
        assert self._started_or_ended.wait(self.patience), f"does not begin to serve in {self.patience:g} s"
        if not self._has_started:
            self.join()

    def _announce(self, server: BaseServer) -> None:
        if server is self.servers[-1]:
            self._has_started = True
            self._started_or_ended.set()

    def _run(self) -> None:
        try:
            self.service.run()
        except BaseException as error:
            self._error = error
        finally:
            self._started_or_ended.set()

    def is_serving(self) -> bool:
        """Return whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def join(self) -> None:
        """Wait for the end of the service; raise its error if it failed."""
        if self._thread is not None:
            self._thread.join(self.patience)
            active = [context for server in self.servers for context in server.active_requests.values()]
            assert not self._thread.is_alive(), f"the service does not end (active: {active})"
        if self._error is not None:
            raise self._error
        assert not self.service.abandoned, "requests did not end, even after they were aborted"

    def stop(self) -> None:
        """Close the clients, drain and close the servers. A second call does nothing.

        Raises the error of the service; AssertionError if it or one of its requests does not end, or if it
        leaves a socket file.
        """
        if self._stopped:
            return
        self._stopped = True
        try:
            with contextlib.ExitStack() as steps:
                steps.callback(self.resources.close)
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
            self._force_end()
            raise

    def check(self) -> None:
        """Check for files left behind, when all is closed and the folder still exists."""
        left = socket_files(self.folder)
        assert not left, f"left behind: socket file {', '.join(map(str, left))}"

    def abandon(self) -> None:
        """Release all that can be released, after the test has failed. Raises nothing."""
        self._force_end()
        with contextlib.suppress(Exception):
            self.stop()

    def _force_end(self) -> None:
        for step in (self._abort_requests, self.join, self._shut_down, self.join):
            with contextlib.suppress(Exception):
                step()

    def _abort_requests(self) -> None:
        for server in self.servers:
            server.drain(0.0)

    def _shut_down(self) -> None:
        for server in self.servers:
            within(self.patience / 4, "shutdown()", server.shutdown)

    # Clients --------------------------------------------------------------------------------------

    def connect(self) -> ClientSocket:
        """Return a socket connected to the first server. It is closed at the end, if it is open then.

        Each call on it may take ``patience`` seconds (TimeoutError). On a datagram server one send() and one
        recv() are one datagram each.
        """
        client = dial(self.servers[0], self.patience, self.folder)
        self._clients.enter_context(client)
        return client

    def exchange(self, data: bytes, size: int | None = None) -> bytes:
        """Send *data* as a new client, and return the reply.

        On a connection: end the client's side after *data*, and return all bytes up to the server's end; with
        *size*, keep it open, and return that many. On a datagram server: return the first datagram that
        comes back.
        """
        with dial(self.servers[0], self.patience, self.folder) as client:
            if self.servers[0].is_stream():
                return converse(client, data, size)
            client.send(data)
            return client.recv(2**20)

    # Hook calls -----------------------------------------------------------------------------------

    def wait_for_event(self, name: str, timeout: float | None = None, *, count: int = 1) -> dict[str, Any]:
        """Wait until a hook has been called *count* times; return the arguments of that call.

        *name*: the hook without its prefix, as "request_finished". *timeout*: seconds, ``patience`` if None.
        AssertionError if the call does not come, ValueError if there is no such hook.
        """
        if name not in SERVER_HOOKS or name == _UNRECORDED:
            raise ValueError(f"no hook named {name!r} is recorded{nearest(name, SERVER_HOOKS)}")

        def calls() -> list[dict[str, Any]]:
            return [event.arguments for event in tuple(self.events) if event.hook == name]

        timeout = self.patience if timeout is None else timeout
        try:
            wait_until(lambda: len(calls()) >= count, timeout, name)
        except AssertionError as error:
            came = ", ".join(event.hook for event in tuple(self.events))
            raise AssertionError(f"{error} x {count}; what came is: {came}") from None
        return calls()[count - 1]


def _hooks_of(plugins: Iterable[object], options: Mapping[str, object]) -> ServerHooks:
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


def free_url(scheme: str, server_class: type[BaseServer], folder: Path) -> str:
    """Return a URL that can be bound now: a path in *folder*, or a free port of the loopback interface."""
    if getattr(server_class, "address_family", None) == getattr(socket, "AF_UNIX", -1):
        return f"{scheme}://{folder}/socket"
    return f"{scheme}://127.0.0.1:0"
