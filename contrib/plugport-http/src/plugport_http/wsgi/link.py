"""Links: a connection's socket as a blocking handler uses it, each wait with its own timeout."""

from __future__ import annotations

import os
import socket
import struct
import sys
from time import monotonic
from typing import Any

__all__ = ["Link", "make_link"]

_CHUNK = 65536
#: Bytes for which Python has memory of its own: 512 with those that it needs for itself. (pymalloc)
_SMALL_READ = 479
#: Whether the kernel keeps the time of a blocking call (socket(7)), so that it need not be asked before.
_HAS_KERNEL_TIMEOUTS = sys.platform == "linux"
_TIMEVAL = struct.Struct("@ll")


def make_link(sock: Any, send_timeout: float, idle_timeout: float | None) -> Link:
    """Return the link for *sock*; *idle_timeout* is the server's, and the most that anything may wait."""
    if isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A subclass, or what has been put in the place of the class, may wait in other ways.
    plain = type(sock) is socket.socket and socket.socket.__module__ == "socket"
    if _HAS_KERNEL_TIMEOUTS and plain and idle_timeout is None:
        return _KernelTimedLink(sock, send_timeout)
    return Link(sock, send_timeout, idle_timeout)


class Link:
    """Receives and sends, with timeouts in seconds; raises TimeoutError.

    ``failure``: the error that broke the connection, as far as one was seen.
    """

    __slots__ = ("_limit", "_recv", "_send_timeout", "_sendall", "_set_timeout", "_sock", "failure")

    def __init__(self, sock: Any, send_timeout: float, limit: float | None = None) -> None:
        self._sock = sock
        # Kept, for a socket that stands for another may take its time to find them.
        self._recv, self._sendall, self._set_timeout = sock.recv, sock.sendall, sock.settimeout
        self._limit = limit
        self._send_timeout = send_timeout if limit is None else min(send_timeout, limit)
        self.failure: OSError | None = None

    def receive(self, timeout: float, size: int = _CHUNK) -> bytes:
        """Return what has come, b"" at the end."""
        set_timeout, recv, limit = self._set_timeout, self._recv, self._limit
        set_timeout(timeout if limit is None else min(timeout, limit))
        try:
            data: bytes = recv(size)
        except TimeoutError:
            raise
        except OSError as error:
            self.failure = error
            raise
        return data

    def send(self, data: bytes) -> None:
        """Send all of *data*."""
        set_timeout, sendall = self._set_timeout, self._sendall
        try:
            set_timeout(self._send_timeout)
            sendall(data)
        except OSError as error:
            self.failure = error
            raise

    def send_file(self, file: Any, offset: int, count: int) -> int:
        """Send *count* bytes of *file* from *offset* on, by the kernel if it can; return how many it had."""
        try:
            self._sock.settimeout(self._send_timeout)
            sent: int = self._sock.sendfile(file, offset, count)
        except OSError as error:
            self.failure = error
            raise
        return sent

    def shut_down_reading(self) -> None:
        """Have who waits for the client see the end. May be called from another thread."""
        try:
            self._sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # it has ended

    def linger(self, seconds: float) -> None:
        """Say goodbye, and give the client time to see it: what it still sends is dropped.

        To close with bytes unread would be a reset, which may take from the client what it has not
        read. (RFC 9112, 9.6)
        """
        deadline = monotonic() + seconds
        try:
            self._sock.shutdown(socket.SHUT_WR)
            while (left := deadline - monotonic()) > 0.0 and self.receive(left):
                pass
        except OSError:
            pass

    def reset(self) -> None:
        """End the connection in a way that can't be taken for the end of a response."""
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            detach = getattr(self._sock, "detach", None)
            if detach is None:
                self._sock.close()
            else:  # before anybody says goodbye
                os.close(detach())
        except OSError:
            pass


class _KernelTimedLink(Link):
    """Has the kernel keep the time: a system call only where a timeout changes.

    Where little came the last time it makes room for little, which costs less, and for the rest when
    there is one.
    """

    __slots__ = ("_last_was_small", "_timeout")

    def __init__(self, sock: socket.socket, send_timeout: float) -> None:
        super().__init__(sock, send_timeout)
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(send_timeout))
        self._timeout = -1.0
        self._last_was_small = False

    def receive(self, timeout: float, size: int = _CHUNK) -> bytes:
        if timeout != self._timeout:
            self._timeout = timeout
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(timeout))
        try:
            if not self._last_was_small:
                data: bytes = self._sock.recv(size)
                self._last_was_small = len(data) < _SMALL_READ
                return data
            data = self._sock.recv(_SMALL_READ)
            return data if len(data) < _SMALL_READ else data + self._receive_rest(size - _SMALL_READ)
        except BlockingIOError:
            raise TimeoutError(f"nothing came for {timeout:g} seconds") from None
        except OSError as error:
            self.failure = error
            raise

    def _receive_rest(self, size: int) -> bytes:
        self._last_was_small = False
        try:
            return self._sock.recv(size, socket.MSG_DONTWAIT)  # type: ignore[no-any-return]
        except BlockingIOError:
            return b""

    def send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except BlockingIOError:
            self.failure = TimeoutError(f"the client took nothing for {self._send_timeout:g} seconds")
            raise self.failure from None
        except OSError as error:
            self.failure = error
            raise

    def send_file(self, file: Any, offset: int, count: int) -> int:
        try:
            return super().send_file(file, offset, count)
        finally:
            self._sock.settimeout(None)


def _timeval(seconds: float) -> bytes:
    microseconds = max(int(seconds * 1_000_000), 1)  # zero would be for ever
    return _TIMEVAL.pack(*divmod(microseconds, 1_000_000))
