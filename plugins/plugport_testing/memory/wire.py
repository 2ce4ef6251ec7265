"""MemorySocket and MemoryLoop: the parts of a socket and of a loop that a transport uses, in memory."""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from plugport.contracts import READ, WRITE, Buffer, Callback, ClientAddress

__all__ = ["MemoryLoop", "MemorySocket"]


class MemorySocket:
    """The server's end of a connection whose client is the test; or a datagram socket.

    ``incoming``  bytes that the client has sent, and the server has not read
    ``taken``     bytes that the server has sent, and the client has taken
    ``room``      how many more bytes the client takes; None: no limit
    ``ended``     the client has ended its side; ``shut``: the server has ended its own
    ``broken``    the errno that broke the connection, 0 if none has
    ``sent``      on a datagram socket: each datagram with its destination
    """

    family = socket.AF_INET
    proto = 0

    def __init__(self, kind: int, peer: ClientAddress = None, room: int | None = None) -> None:
        self.type = kind
        self.incoming = bytearray()
        self.taken = bytearray()
        self.room = room
        self.ended = self.shut = self.closed = False
        self.broken = 0
        self.sent: list[tuple[bytes, ClientAddress]] = []
        self._peer = peer

    def as_socket(self) -> socket.socket:
        """Return this object with the type of a socket, which it replaces."""
        return cast(socket.socket, self)

    def ready_events(self) -> int:
        """Return the events that a poll would report."""
        if self.broken:
            return READ | WRITE
        readable = self.incoming or self.ended
        return (READ if readable else 0) | (WRITE if self.room != 0 else 0)

    # Methods that a transport calls ---------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return what the client has sent, b"" at its end.

        Raises BlockingIOError if there is nothing, OSError if the connection is broken.
        """
        self._check()
        if not (self.incoming or self.ended):
            raise BlockingIOError(errno.EAGAIN, "the client has sent nothing")
        data = bytes(self.incoming[:bufsize])
        del self.incoming[:bufsize]
        return data

    def recv_into(self, buffer: Buffer) -> int:
        """Read into *buffer*; return the number of bytes."""
        with memoryview(buffer).cast("B") as view:
            data = self.recv(len(view))
            view[: len(data)] = data
        return len(data)

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Send what the client has room for; return the number of bytes. Raises BlockingIOError if none."""
        self._check()
        with memoryview(data).cast("B") as view:
            size = len(view) if self.room is None else min(self.room, len(view))
            if not size and len(view):
                raise BlockingIOError(errno.EAGAIN, "the client has no room")
            self.taken += view[:size]
        if self.room is not None:
            self.room -= size
        return size

    def sendto(self, data: Buffer, *flags_and_address: Any) -> int:
        """Send a datagram: sendto(data, address), or sendto(data, flags, address)."""
        self.sent.append((bytes(data), flags_and_address[-1]))
        return len(data)

    def shutdown(self, how: int) -> None:
        """End the sending side, the receiving side, or both."""
        self.shut = self.shut or how != socket.SHUT_RD
        self.ended = self.ended or how != socket.SHUT_WR

    def close(self) -> None:
        """Close the connection."""
        self.closed = self.shut = True

    def _check(self) -> None:
        if self.broken:
            raise OSError(self.broken, "the client has broken the connection")

    # Methods that handlers may call ---------------------------------------------------------------

    def fileno(self) -> int:
        """Return -1: there is no descriptor."""
        return -1

    def detach(self) -> int:
        """Raise OSError: there is no descriptor to give away."""
        raise OSError(errno.EBADF, "a connection in memory has no descriptor; serve it over a socket")

    def getpeername(self) -> ClientAddress:
        """Return the client's address."""
        return self._peer

    def getsockname(self) -> tuple[str, int]:
        """Return the server's address."""
        return ("127.0.0.1", 0)

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> int | bytes:
        """Return the errno for SO_ERROR; for other options 0, or *buflen* zero bytes."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return self.broken
        return bytes(buflen) if buflen else 0

    def setsockopt(self, *args: object) -> None:
        """Do nothing: there are no socket options."""

    def setblocking(self, flag: bool) -> None:
        """Do nothing: no call blocks."""

    def settimeout(self, value: float | None) -> None:
        """Do nothing: no call blocks."""

    def gettimeout(self) -> float | None:
        """Return 0.0: no call blocks."""
        return 0.0


class _Timer:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class MemoryLoop:
    """Runs the callbacks of one socket and its timers when the test calls it; its clock stands still else."""

    def __init__(self, sock: MemorySocket) -> None:
        self._sock = sock
        self._watched: tuple[int, Callback] | None = None
        self._soon: deque[Callable[[], object]] = deque()
        self._timers: list[_Timer] = []
        #: The time, in seconds since the loop was made.
        self.now = 0.0

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Run *callback* after the current one."""
        self._soon.append(callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> _Timer:
        """Run *callback* when the clock has advanced by *seconds*; return a timer with cancel()."""
        timer = _Timer(self.now + seconds, callback)
        self._timers.append(timer)
        return timer

    def register(self, fd: int, events: int, callback: Callback) -> None:
        """Watch the socket."""
        self._watched = events, callback

    def modify(self, fd: int, events: int, callback: Callback) -> None:
        """Watch the socket for other events."""
        self._watched = events, callback

    def unregister(self, fd: int) -> None:
        """Stop watching the socket."""
        self._watched = None

    def run(self) -> None:
        """Run callbacks until none is ready."""
        while self._soon or self._ready():
            while self._soon:
                self._soon.popleft()()
            events = self._ready()
            if events and self._watched is not None:
                self._watched[1](events)

    def _ready(self) -> int:
        if self._watched is None:
            return 0
        # A poll reports a broken connection whatever it watches for.
        return self._sock.ready_events() & (READ | WRITE if self._sock.broken else self._watched[0])

    def advance(self, seconds: float) -> None:
        """Advance the clock, and run the timers that expire, in their order."""
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
