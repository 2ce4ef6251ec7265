"""Sockets whose waits let other greenlets run, made of those that servers have."""

from __future__ import annotations

import os
import socket
from typing import Any

import gevent
import gevent.socket
from gevent import monkey

__all__ = ["ConnectionSocket", "ReplySocket", "cooperative", "cut", "take_turns"]

# The class of the standard library, which gevent's patches replace by that of gevent.
_PlainSocket: Any = monkey.get_original("socket", "socket")
_DONT_WAIT = int(getattr(socket, "MSG_DONTWAIT", 0))
#: Reads and writes on all connections together after which the other greenlets have their turn.
_MAX_CALLS = 32
#: Seconds between two attempts to send a datagram for which there is no room: the first ones, and the last.
_FIRST_PAUSE, _LAST_PAUSE = 0.001, 0.05


_calls = 0


def take_turns(sock: Any) -> None:
    """Let others run, now and then; called before each read or write of a connection."""
    global _calls
    _calls += 1
    if _calls > _MAX_CALLS and sock.timeout != 0.0:
        _calls = 0
        gevent.sleep(0)


class ConnectionSocket(gevent.socket.socket):  # type: ignore[misc]
    """A connection whose waiting calls let other greenlets run, and so do those that need not wait.

    gevent's own would keep the thread as long as a client is quick enough to need no waiting for.
    """

    __slots__ = ()  # so that a socket of gevent's can become one

    def recv(self, *args: Any) -> bytes:
        """Return what is there to read, once there is something."""
        take_turns(self)
        data: bytes = super().recv(*args)
        return data

    def recv_into(self, *args: Any) -> int:
        """Read into a buffer what is there, once there is something."""
        take_turns(self)
        count: int = super().recv_into(*args)
        return count

    def send(self, data: Any, flags: int = 0, timeout: Any = gevent.socket.timeout_default) -> int:
        """Send what there is room for, once there is some."""
        take_turns(self)
        count: int = super().send(data, flags, timeout)
        return count

    def shutdown(self, how: int) -> None:
        """Shut down one side or both. Who waits comes to the end, as at a plain socket.

        gevent's own has those who wait fail with EBADF.
        """
        self._sock.shutdown(how)


def cooperative(sock: Any) -> Any:
    """Return a ConnectionSocket made of *sock*, if that is a plain socket or one of gevent's; else *sock*."""
    if type(sock) is gevent.socket.socket:
        sock.__class__ = ConnectionSocket
        return sock
    if type(sock) is not _PlainSocket:
        return sock
    timeout = sock.gettimeout()
    taken = ConnectionSocket(int(sock.family), int(sock.type), sock.proto, fileno=sock.detach())
    if timeout is not None:
        taken.settimeout(timeout)
    return taken


def cut(sock: Any) -> None:
    """Shut a connection down in both directions; who reads from it comes to its end.

    Not by its own shutdown(), which has those who wait fail with EBADF.
    """
    inner = getattr(sock, "_sock", sock)
    try:
        _PlainSocket.shutdown(inner, socket.SHUT_RDWR) if inner is sock else inner.shutdown(socket.SHUT_RDWR)
    except (AttributeError, TypeError, OSError):
        pass  # not a socket, or gone already


class ReplySocket(_PlainSocket):  # type: ignore[misc]
    """The socket of a datagram server as its handlers get it: who finds no room waits, and nobody else.

    Not by the hub: it can't tell whether the one peer has room, and lets a single greenlet wait for a socket.
    With MSG_DONTWAIT nobody waits.
    """

    def __init__(self, sock: Any) -> None:
        super().__init__(fileno=os.dup(sock.fileno()))

    def sendto(self, data: Any, *args: Any) -> int:
        """Send a datagram: ``sendto(data, [flags,] address)``."""
        *given, address = args
        flags = given[0] if given else 0
        pause = _FIRST_PAUSE
        while True:
            try:
                sent: int = super().sendto(data, flags | _DONT_WAIT, address)
                return sent
            except BlockingIOError:
                if flags & _DONT_WAIT:
                    raise
            gevent.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)
