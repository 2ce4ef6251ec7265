"""Endpoint: where metrics are scraped, served within the loop of the servers that are measured.

So there is no thread, which a fork would leave in an odd state; why, and what that costs, is in
docs/explanation/decisions/metrics-in-the-loop.md.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

from plugport.contracts import READ, WRITE, Loop
from plugport.errors import ListenError
from plugport.serving import format_url

from plugport_prometheus.answer import MAX_HEAD, TOO_LONG, is_whole

__all__ = ["Endpoint"]

logger = logging.getLogger("plugport.prometheus")

#: Seconds that a scrape may take, from its connection to its end.
PATIENCE = 10.0
#: Scrapes at once; who comes then waits in the backlog.
MAX_SCRAPES = 16
#: Seconds to wait when the process is out of descriptors.
_PAUSE = 1.0

#: Makes the answer to a request, of its head.
Respond = Callable[[bytes], bytes]


class Endpoint:
    """A listening socket that one server's loop watches at a time; *respond* makes the answers.

    *shared*: other processes may listen on the same address. Raises ListenError.
    """

    def __init__(self, address: Any, family: int, respond: Respond, *, shared: bool = False) -> None:
        self._respond = respond
        #: Whose loop watches; and whose did, and is to do so again.
        self._server: Any = None
        self._paused: Any = None
        self._scrapes: set[_Scrape] = set()
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared and hasattr(socket, "SO_REUSEPORT"):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind(address)
            self._socket.listen(MAX_SCRAPES)
        except OSError as error:
            self._socket.close()
            where = format_url("http", address)
            raise ListenError(
                f"can't serve metrics on {where}: {error.strerror}; choose another prometheus.listen"
            ) from error

    @property
    def url(self) -> str:
        """Where it listens, with the real port."""
        return format_url("http", self._socket.getsockname())

    def attend(self, server: Any) -> None:
        """Have *server* watch, unless there is one that does, and that polls or has yet to."""
        if self._server is None:
            self._watch(server)
        elif server.serving_loop is not None and self._server.serving_loop is None:
            self._server.unwatch(self._socket.fileno())
            self._watch(server)

    def _watch(self, server: Any) -> None:
        self._server = server
        server.watch(self._socket.fileno(), self._accept)

    def _accept(self, events: int) -> None:
        loop: Loop = self._server.serving_loop
        try:
            while len(self._scrapes) < MAX_SCRAPES:
                connection, _ = self._socket.accept()
                connection.setblocking(False)
                self._scrapes.add(_Scrape(connection, loop, self._respond, self._end))
            self._pause(loop, 0.0)  # until one of them has ended
        except BlockingIOError:
            pass  # that was the last
        except ConnectionError:
            pass  # it has gone away
        except OSError as error:
            logger.warning("%s can't accept, will try again: %s", self.url, error)
            self._pause(loop, _PAUSE)

    def _pause(self, loop: Loop, seconds: float) -> None:
        """Watch no longer; from so many seconds on again, or with 0 when a scrape has ended."""
        self._server.unwatch(self._socket.fileno())
        self._server, self._paused = None, self._server
        if seconds:
            loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._paused is not None and self._socket.fileno() >= 0:
            server, self._paused = self._paused, None
            if self._server is None:
                self._watch(server)

    def _end(self, scrape: _Scrape) -> None:
        self._scrapes.discard(scrape)
        self._resume()

    def close(self) -> None:
        """Close all of it, when no loop polls any more; or, in a forked child, what it has of it."""
        if self._server is not None:
            self._server.unwatch(self._socket.fileno())
            self._server = None
        self._paused = None
        self._socket.close()
        for scrape in self._scrapes:
            scrape.release()
        self._scrapes.clear()


class _Scrape:
    """One connection: its head is read, it is answered and closed, or it is closed for being slow."""

    def __init__(
        self, connection: socket.socket, loop: Loop, respond: Respond, on_end: Callable[[_Scrape], None]
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._respond = respond
        self._on_end = on_end
        self._head = b""
        self._left = memoryview(b"")
        loop.register(connection.fileno(), READ, self._read)
        self._timer = loop.call_later(PATIENCE, self._close)

    def _read(self, events: int) -> None:
        try:
            data = self._connection.recv(MAX_HEAD)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._head += data
        if not data:
            self._close()
        elif len(self._head) > MAX_HEAD:
            self._begin_answer(TOO_LONG)
        elif is_whole(self._head):
            self._begin_answer(self._respond(self._head))

    def _begin_answer(self, answer: bytes) -> None:
        self._left = memoryview(answer)
        self._loop.unregister(self._connection.fileno())
        self._loop.register(self._connection.fileno(), WRITE, self._write)
        self._write(WRITE)

    def _write(self, events: int) -> None:
        try:
            self._left = self._left[self._connection.send(self._left) :]
        except BlockingIOError:
            return
        except OSError:
            self._left = self._left[:0]
        if not self._left:
            self._close()

    def _close(self) -> None:
        if self._connection.fileno() >= 0:
            self._timer.cancel()
            self._loop.unregister(self._connection.fileno())
            self.release()
            self._on_end(self)

    def release(self) -> None:
        """Close the connection, and leave the loop alone."""
        self._connection.close()
