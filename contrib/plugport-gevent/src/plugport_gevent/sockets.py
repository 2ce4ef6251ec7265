"""Sockets whose waits let other greenlets run, made of those that servers have."""

from __future__ import annotations

import os
import socket
from typing import Any

import gevent.socket
from gevent import monkey

__all__ = ["ReplySocket", "cooperative", "cut"]

# The class of the standard library, which gevent's patches replace by that of gevent.
_PlainSocket: Any = monkey.get_original("socket", "socket")
_DONT_WAIT = int(getattr(socket, "MSG_DONTWAIT", 0))


def cooperative(sock: Any) -> Any:
    """Return a connection as gevent has it, which takes the descriptor of *sock*; others as they are."""
    if type(sock) is not _PlainSocket:
        return sock
    timeout = sock.gettimeout()
    taken = gevent.socket.socket(int(sock.family), int(sock.type), sock.proto, fileno=sock.detach())
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


class ReplySocket(gevent.socket.socket):  # type: ignore[misc]
    """The socket of a datagram server as its handlers get it: where its buffer is full, they wait.

    With MSG_DONTWAIT they don't, which gevent's sockets do not heed.
    """

    def __init__(self, sock: Any) -> None:
        super().__init__(int(sock.family), int(sock.type), sock.proto, fileno=os.dup(sock.fileno()))

    def sendto(self, data: Any, *args: Any) -> int:
        """Send a datagram: ``sendto(data, [flags,] address)``."""
        if len(args) > 1 and args[0] & _DONT_WAIT:
            sent: int = self._sock.sendto(data, *args)
            return sent
        return super().sendto(data, *args)  # type: ignore[no-any-return]
