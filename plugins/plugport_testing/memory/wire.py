"""MemorySocket and MemoryLoop: what a transport needs of a socket and of a loop, without the system's."""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from plugport.contracts import READ, WRITE, Callback

__all__ = ["MemoryLoop", "MemorySocket"]


class MemorySocket:
    """The server's end of a connection whose client is the test; or a socket of datagrams.

    ``incoming``  what the client has sent, and the server has not read
    ``taken``     what the server has sent, and the client has taken
    ``room``      how many bytes more the client takes; None: all
    ``ended``     the client has ended its side; ``shut``: the server has ended its own
    ``broken``    the errno that broke the connection, 0 if none has
    ``sent``      on a socket of datagrams: pairs of a datagram and the address that it was sent to
    """

    family = socket.AF_INET
    proto = 0

    def __init__(self, kind: int, peer: Any = None, room: int | None = None) -> None:
        self.type = kind
        self.incoming = bytearray()
        self.taken = bytearray()
        self.room = room
        self.ended = self.shut = self.closed = False
        self.broken = 0
        self.sent: list[tuple[bytes, Any]] = []
        self._peer = peer

    def ready(self) -> int:
        """Return the events that a poll would tell of."""
        if self.broken:
            return READ | WRITE
        readable = self.incoming or self.ended
        return (READ if readable else 0) | (WRITE if self.room != 0 else 0)

    # What a transport calls -----------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return what has come, b"" at its end. Raises BlockingIOError, or what broke the connection."""
        self._check()
        if not (self.incoming or self.ended):
            raise BlockingIOError(errno.EAGAIN, "nothing has come")
        data = bytes(self.incoming[:bufsize])
        del self.incoming[:bufsize]
        return data

    def recv_into(self, buffer: Any) -> int:
        """Read into *buffer*; return the number of bytes."""
        with memoryview(buffer).cast("B") as view:
            data = self.recv(len(view))
            view[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send as much as the client takes; return the number of bytes. Raises BlockingIOError for none."""
        self._check()
        with memoryview(data).cast("B") as view:
            size = len(view) if self.room is None else min(self.room, len(view))
            if not size and len(view):
                raise BlockingIOError(errno.EAGAIN, "the client takes no more")
            self.taken += view[:size]
        if self.room is not None:
            self.room -= size
        return size

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        """Send a datagram: sendto(data, address), or sendto(data, flags, address)."""
        self.sent.append((bytes(data), flags_and_address[-1]))
        return len(data)

    def shutdown(self, how: int) -> None:
        """End the stream of what is sent, or what is read, or both."""
        self.shut = self.shut or how != socket.SHUT_RD
        self.ended = self.ended or how != socket.SHUT_WR

    def close(self) -> None:
        """Close."""
        self.closed = self.shut = True

    def _check(self) -> None:
        if self.broken:
            raise OSError(self.broken, "the client has broken the connection")

    # What handlers may ask ------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return -1: there is no descriptor."""
        return -1

    def detach(self) -> int:
        """Not to be had: there is no descriptor to give away."""
        raise OSError(errno.EBADF, "a connection in memory has no descriptor; serve it over a socket")

    def getpeername(self) -> Any:
        """Return the client's address."""
        return self._peer

    def getsockname(self) -> Any:
        """Return the server's address."""
        return ("127.0.0.1", 0)

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> Any:
        """Return the errno for SO_ERROR, else 0, or so many bytes of 0."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return self.broken
        return bytes(buflen) if buflen else 0

    def setsockopt(self, *args: Any) -> None:
        """Do nothing."""

    def setblocking(self, flag: bool) -> None:
        """Do nothing: it never blocks."""

    def settimeout(self, value: float | None) -> None:
        """Do nothing."""

    def gettimeout(self) -> float | None:
        """Return 0.0: it never blocks."""
        return 0.0


class _Timer:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class MemoryLoop:
    """Calls what is due for one socket, when the test says so; its clock stands still meanwhile."""

    def __init__(self, sock: MemorySocket) -> None:
        self._sock = sock
        self._watched: tuple[int, Callback] | None = None
        self._soon: deque[Callable[[], object]] = deque()
        self._timers: list[_Timer] = []
        #: The time, in seconds since it was made.
        self.now = 0.0
        self.call_soon = self._soon.append

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """Watch the socket."""
        self._watched = events, callback

    def modify(self, fd: int, events: int, callback: Callback) -> None:
        """Watch it for other events."""
        self._watched = events, callback

    def unregister(self, fd: int) -> None:
        """Watch it no longer."""
        self._watched = None

    def call_later(self, seconds: float, callback: Callable[[], None]) -> _Timer:
        """Call *callback* when the clock has been put forward by so much; return a timer with cancel()."""
        timer = _Timer(self.now + seconds, callback)
        self._timers.append(timer)
        return timer

    def run(self) -> None:
        """Do all that can be done now."""
        while self._soon or self._ready():
            while self._soon:
                self._soon.popleft()()
            events = self._ready()
            if events and self._watched is not None:
                self._watched[1](events)

    def _ready(self) -> int:
        if self._watched is None:
            return 0
        # A poll tells that a connection broke whatever it watches for.
        return self._sock.ready() & (READ | WRITE if self._sock.broken else self._watched[0])

    def advance(self, seconds: float) -> None:
        """Put the clock forward, and do what is due by then, in its order."""
        until = self.now + seconds
        while due := [timer for timer in self._timers if timer.callback is not None and timer.when <= until]:
            timer = min(due, key=lambda one: one.when)
            self._timers.remove(timer)
            self.now = timer.when
            if timer.callback is not None:
                timer.callback()
            self.run()
        self.now = until
        self._timers = [timer for timer in self._timers if timer.callback is not None]
