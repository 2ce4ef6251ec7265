"""Endpoint: serves the metrics in the loop of the servers that are measured.

So it needs no thread, whose locks a fork would copy while they are held. The reasons and the costs are in
docs/explanation/decisions/metrics-in-the-loop.md.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

from plugport.contracts import READ, WRITE, Loop, Server
from plugport.errors import ListenError
from plugport.serving import format_url

from plugport_prometheus.answer import MAX_HEAD, TOO_LONG, is_complete

__all__ = ["Endpoint"]

logger = logging.getLogger("plugport.prometheus")

#: Seconds that a scrape may take, from its connection to its end.
PATIENCE = 10.0
#: Scrapes at once; further connections wait in the backlog.
MAX_SCRAPES = 16
#: Seconds until the next attempt after accept() failed, for want of descriptors for example.
_PAUSE = 1.0

#: Returns the response to a request, given its head.
Respond = Callable[[bytes], bytes]


class Endpoint:
    """A listening socket that the loop of one server polls; *respond* makes the responses.

    *shared*: whether other processes may listen on the same address. Raises ListenError.
    """

    def __init__(
        self, address: tuple[object, ...], family: int, respond: Respond, *, shared: bool = False
    ) -> None:
        self._respond = respond
        #: The server whose loop polls the socket; and while accepting pauses, the one that will continue.
        self._server: Server | None = None
        self._paused: Server | None = None
        self._scrapes: set[Scrape] = set()
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
        """The URL that it listens on, with the real port."""
        return format_url("http", self._socket.getsockname())

    def watch_in(self, server: Server) -> None:
        """Have the loop of *server* poll the socket, unless another does or will when its server serves."""
        if self._server is None:
            self._watch(server)
        elif server.serving_loop is not None and self._server.serving_loop is None:
            self._server.unwatch(self._socket.fileno())
            self._watch(server)

    def _watch(self, server: Server) -> None:
        self._server = server
        server.watch(self._socket.fileno(), self._accept)

    def _accept(self, events: int) -> None:
        loop = None if self._server is None else self._server.serving_loop
        if loop is None:
            return  # it left the loop since the socket was polled
        try:
            while len(self._scrapes) < MAX_SCRAPES:
                connection, _ = self._socket.accept()
                connection.setblocking(False)
                self._scrapes.add(Scrape(connection, loop, self._respond, self._end))
            self._pause(loop, 0.0)  # until one of them has ended
        except BlockingIOError:
            pass  # none waits
        except ConnectionError:
            pass  # the client has closed it
        except OSError as error:
            logger.warning("%s can't accept, will try again: %s", self.url, error)
            self._pause(loop, _PAUSE)

    def _pause(self, loop: Loop, seconds: float) -> None:
        """Stop polling, for so many seconds, or with 0 until a scrape has ended."""
        if self._server is not None:
            self._server.unwatch(self._socket.fileno())
        self._server, self._paused = None, self._server
        if seconds:
            loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._paused is not None and self._socket.fileno() >= 0:
            server, self._paused = self._paused, None
            if self._server is None:
                self._watch(server)

    def _end(self, scrape: Scrape) -> None:
        self._scrapes.discard(scrape)
        self._resume()

    def close(self) -> None:
        """Close the socket and all scrapes; in a forked child, the copies of them."""
        if self._server is not None:
            self._server.unwatch(self._socket.fileno())
            self._server = None
        self._paused = None
        self._socket.close()
        for scrape in self._scrapes:
            scrape.release()
        self._scrapes.clear()


class Scrape:
    """One connection: reads a request, sends the response and closes; or closes after PATIENCE seconds."""

    def __init__(
        self, connection: socket.socket, loop: Loop, respond: Respond, on_end: Callable[[Scrape], None]
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._respond = respond
        self._on_end = on_end
        self._head = b""
        self._unsent = memoryview(b"")
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
            self._start_response(TOO_LONG)
        elif is_complete(self._head):
            self._start_response(self._respond(self._head))

    def _start_response(self, response: bytes) -> None:
        self._unsent = memoryview(response)
        self._loop.unregister(self._connection.fileno())
        self._loop.register(self._connection.fileno(), WRITE, self._write)
        self._write(WRITE)

    def _write(self, events: int) -> None:
        try:
            self._unsent = self._unsent[self._connection.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._unsent = self._unsent[:0]
        if not self._unsent:
            self._close()

    def _close(self) -> None:
        if self._connection.fileno() >= 0:
            self._timer.cancel()
            self._loop.unregister(self._connection.fileno())
            self.release()
            self._on_end(self)

    def release(self) -> None:
        """Close the connection without unregistering it from the loop."""
        self._connection.close()
