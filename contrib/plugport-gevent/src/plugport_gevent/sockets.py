"""Sockets whose waits let other greenlets run: of connections, and of replies to datagrams."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, cast

import gevent
import gevent.socket
from gevent import monkey
from plugport.contracts import Request

if TYPE_CHECKING:  # gevent comes without types
    from _typeshed import ReadableBuffer, WriteableBuffer

    _PlainSocket = socket.socket

    class _GeventSocket(socket.socket):
        def send(self, data: ReadableBuffer, flags: int = 0, timeout: object = None, /) -> int: ...
else:
    # The class of the standard library, which gevent's patch replaces.
    _PlainSocket = monkey.get_original("socket", "socket")
    _GeventSocket = gevent.socket.socket

__all__ = ["ConnectionSocket", "ReplySocket", "as_connection_socket", "shutdown_socket", "switch_sometimes"]

_DONT_WAIT = int(getattr(socket, "MSG_DONTWAIT", 0))
#: Reads and writes, of all connections together, after which the other greenlets run.
_CALLS_PER_SWITCH = 32
#: Seconds between two attempts to send a datagram for which there is no room: the first pause, the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05

_calls = 0


def switch_sometimes(sock: socket.socket) -> None:
    """Let other greenlets run at intervals. Called before each read or write of a connection."""
    global _calls
    _calls += 1
    if _calls > _CALLS_PER_SWITCH and sock.timeout != 0.0:
        _calls = 0
        gevent.sleep(0)


class ConnectionSocket(_GeventSocket):
    """gevent's socket of a connection, which lets other greenlets run even where a call need not wait.

    gevent's own class would hold the thread for as long as a client is so fast that no call waits for it.
    """

    __slots__ = ()

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Return up to *bufsize* bytes, once there are some."""
        switch_sometimes(self)
        return super().recv(bufsize, flags)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Read into *buffer*, once there is something to read; return the number of bytes."""
        switch_sometimes(self)
        return super().recv_into(buffer, nbytes, flags)

    def send(
        self, data: ReadableBuffer, flags: int = 0, timeout: object = gevent.socket.timeout_default
    ) -> int:
        """Send as much of *data* as there is room for, once there is some; return the number of bytes."""
        switch_sometimes(self)
        return super().send(data, flags, timeout)

    def shutdown(self, how: int) -> None:
        """Shut down reading, writing or both. A greenlet that waits to read then reads the end of the stream.

        Under gevent's own shutdown() it would fail with EBADF.
        """
        shutdown_socket(self, how)


def as_connection_socket(request: Request) -> Request:
    """Return a ConnectionSocket on the descriptor of *request*, if that is a plain socket or one of gevent's.

    *request* itself is detached. A request of another class is returned as it is.
    """
    if isinstance(request, tuple) or type(request) not in (_GeventSocket, _PlainSocket):
        return request
    timeout = request.gettimeout()
    connection = ConnectionSocket(
        int(request.family), int(request.type), request.proto, fileno=request.detach()
    )
    if timeout is not None:
        connection.settimeout(timeout)
    return connection


def shutdown_socket(sock: socket.socket, how: int) -> None:
    """Shut down the connection below *sock*, by shutdown(2) and nothing else. Raises OSError."""
    fd = sock.fileno()
    if fd < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    plain = _PlainSocket(int(sock.family), int(sock.type), sock.proto, fileno=fd)
    try:
        plain.shutdown(how)
    finally:
        plain.detach()


class ReplySocket(_PlainSocket):
    """The socket of a datagram server as handlers get it: where there is no room, only the sender waits.

    It sends with MSG_DONTWAIT and pauses. The hub could not tell whether one peer has room, and lets only one
    greenlet wait for a socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(fileno=os.dup(sock.fileno()))

    def sendto(self, data: ReadableBuffer, *args: object) -> int:
        """Send a datagram: ``sendto(data, [flags,] address)``."""
        *given, address = args
        flags = cast("int", given[0]) if given else 0
        pause = _FIRST_PAUSE
        while True:
            try:
                return super().sendto(data, flags | _DONT_WAIT, cast("str", address))
            except BlockingIOError:
                if flags & _DONT_WAIT:
                    raise
            gevent.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
