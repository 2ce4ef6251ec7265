"""Trial: one or more servers under test, serving in a thread, with every call of their hooks noted down."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plugport.context import RequestContext
from plugport.hooks import SERVER_HOOKS, ServerHooks
from plugport.service import build_server
from plugport.testing.conformance.handlers import Gate, Progress
from plugport.testing.conformance.waiting import Holdings, wait_until, within
from plugport.url import parse_url

__all__ = ["Trial"]


class Trial:
    """Servers of one class that share a handler and a thread.

    ``server`` is the first of them. ``events`` are the calls of hooks, pairs of name and arguments
    in their order; service_actions is left out. ``verdict`` is what the verify hook answers.
    *patience*: seconds that anything may take. Whoever uses it ends it by close().
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._holdings = Holdings()
        self._folder = tempfile.TemporaryDirectory(prefix="conformance-")
        self.folder = Path(self._folder.name)
        self.progress = Progress()
        self.gate = Gate()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.verdict = True
        self.servers: list[Any] = []
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def server(self) -> Any:
        """The first of the servers."""
        return self.servers[0]

    def add(self, server_class: type, url: str, handler: Callable[..., Any]) -> Any:
        """Bind a server; it serves from start() on."""
        folder = self.folder / str(len(self.servers))
        folder.mkdir()
        hooks = ServerHooks(**{name: self._note(name) for name in SERVER_HOOKS if name != "service_actions"})
        server = build_server(
            server_class,
            parse_url(url.format(folder=folder)),
            handler,
            handler_name="conformance",
            hooks=hooks,
        )
        self.servers.append(server)
        return server

    def _note(self, name: str) -> Callable[..., Any]:
        def hook(**arguments: Any) -> Any:
            self.events.append((name, arguments))
            return self.verdict if name == "verify_request" else None

        return hook

    # What the hooks have told ---------------------------------------------------------------------

    def names(self, prefix: str = "") -> list[str]:
        """The names of the hooks called that begin so."""
        return [name for name, _ in self.events if name.startswith(prefix)]

    def contexts(self, name: str) -> list[RequestContext]:
        """The requests with which the hook was called."""
        return [arguments["context"] for called, arguments in tuple(self.events) if called == name]

    def outcomes(self, count: int = 1) -> list[str | None]:
        """The outcomes of the requests, once *count* have finished."""
        wait_until(
            lambda: len(self.contexts("request_finished")) >= count,
            self._patience,
            f"{count} x request_finished (there is {self.names('request_')})",
        )
        return [context.outcome for context in self.contexts("request_finished")]

    # Its life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Serve in a thread."""
        self._thread = threading.Thread(target=self._serve, name="serving", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            if len(self.servers) == 1:
                self.server.serve_forever()
            else:
                type(self.server).serve_together(self.servers)
        except BaseException as error:
            self._error = error

    def drain(self, timeout: float) -> None:
        """Have the servers finish what they have, and stop."""
        for server in self.servers:
            server.drain(timeout)

    def is_serving(self) -> bool:
        """Whether serve_forever() has not returned."""
        return self._thread is not None and self._thread.is_alive()

    def join(self) -> None:
        """Wait until serve_forever() has returned; raise what it raised."""
        if self._thread is not None:
            self._thread.join(self._patience)
            assert not self._thread.is_alive(), f"serve_forever() goes on (active: {self._active()})"
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Drain and close the servers; AssertionError if a request or anything else is left behind."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._folder.cleanup)
            stack.callback(self.gate.close)
            # Last, when all is closed: only what the servers hold is there still.
            stack.callback(self._assert_accounts_closed)
            for server in self.servers:
                stack.callback(within, self._patience, "server_close()", server.server_close)
            if self.is_serving():
                self.drain(self._patience / 4)
            self.join()
        self._holdings.assert_unchanged(self._patience / 2)

    def abandon(self) -> None:
        """End all that can be ended, after a case has failed."""
        steps: list[Callable[[], object]] = [self._cut, self.join, self._shut_down, self.join, self.close]
        for step in steps:
            with contextlib.suppress(Exception):
                step()

    def _cut(self) -> None:
        self.drain(0.0)

    def _shut_down(self) -> None:
        for server in self.servers:
            within(self._patience / 4, "shutdown()", server.shutdown)

    def _active(self) -> list[RequestContext]:
        return [context for server in self.servers for context in server.active_requests.values()]

    def _assert_accounts_closed(self) -> None:
        """Every request that has started has finished, once, and no other; none is in the table."""
        assert not self._active(), f"requests that were not ended: {self._active()}"
        started = sorted(context.id for context in self.contexts("request_started"))
        finished = self.contexts("request_finished")
        assert sorted(context.id for context in finished) == started, "each request finishes, and once"
        for context in finished:
            assert context.outcome in ("completed", "failed", "timed-out", "aborted"), context
            assert context.duration is not None, context
