"""Servers composed for tests: strategies, handlers that their clients end, a file that processes share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from patience import Call, wait_until
from recording import Recorder

from plugport.handlers.base import StreamRequestHandler
from plugport_builtins.concurrency.forking import ForkingMixIn
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer

LOCALHOST = ("127.0.0.1", 0)

Serve = Callable[..., Call]

Closing = Callable[[Any], Any]

Build = Callable[..., Any]

CONCURRENT = [ThreadingMixIn, ForkingMixIn]

STRATEGIES = [*CONCURRENT, SyncMixIn]


def compose(strategy: type, server_class: type = TCPServer, **members: Any) -> Any:
    return type(strategy.__name__.replace("MixIn", server_class.__name__), (strategy, server_class), members)


class Line(StreamRequestHandler):
    """Sends a line back in capitals: the client says how long the request lasts."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline().upper())


class Hello(StreamRequestHandler):
    """Sends its pid, and stays until the client has sent a line, which it sends back."""

    def handle(self) -> None:
        self.wfile.write(b"%d\n" % os.getpid())
        self.wfile.write(self.rfile.readline())


class Raising:
    """Raises what the server says."""

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        raise server.error


class Shared:
    """A note that a child process can write to, too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def add(self, what: bytes) -> None:
        with self._path.open("ab", buffering=0) as file:
            file.write(what)

    @property
    def seen(self) -> bytes:
        return self._path.read_bytes()


def finished(recorder: Recorder, count: int = 1) -> list[str | None]:
    """The outcomes, once there are so many."""
    wait_until(lambda: len(recorder.outcomes) >= count, what="request_finished")
    return recorder.outcomes
