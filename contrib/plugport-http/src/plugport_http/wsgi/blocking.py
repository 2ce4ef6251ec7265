"""BlockingConnection: a socket for a blocking handler, with a timeout for each operation."""

from __future__ import annotations

import os
import socket
import struct
import sys
from time import monotonic
from types import MethodDescriptorType
from typing import BinaryIO

from plugport.contracts import StreamRequest

__all__ = ["BlockingConnection", "blocking_connection"]

_CHUNK = 65536
#: The largest bytes object in a block of 512 bytes, the limit of Python's own allocator. (pymalloc)
_SMALL_READ = 479
#: Whether the kernel has timeouts for blocking calls (SO_RCVTIMEO, socket(7)): they save a poll() each time.
_HAS_KERNEL_TIMEOUTS = sys.platform == "linux"
_TIMEVAL = struct.Struct("@ll")


def blocking_connection(
    sock: StreamRequest, send_timeout: float, idle_timeout: float | None
) -> BlockingConnection:
    """Return the connection for *sock*. Timeouts are in seconds; *idle_timeout* limits each of them."""
    if isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Subclasses and replacements of the class, such as gevent's, wait in their own recv().
    is_plain = type(sock) is socket.socket and isinstance(socket.socket.recv, MethodDescriptorType)
    if _HAS_KERNEL_TIMEOUTS and is_plain and idle_timeout is None:
        return _KernelTimedConnection(sock, send_timeout)
    return BlockingConnection(sock, send_timeout, idle_timeout)


class BlockingConnection:
    """Receives and sends with timeouts in seconds; raises TimeoutError. A Sender.

    ``failure`` is the error that broke the connection, or None.
    """

    __slots__ = ("_limit", "_recv", "_send_timeout", "_sendall", "_set_timeout", "_sock", "failure")

    def __init__(self, sock: StreamRequest, send_timeout: float, limit: float | None = None) -> None:
        self._sock = sock
        # Looked up once, because a wrapper of a socket may find its methods slowly.
        self._recv, self._sendall, self._set_timeout = sock.recv, sock.sendall, sock.settimeout
        self._limit = limit
        self._send_timeout = send_timeout if limit is None else min(send_timeout, limit)
        self.failure: OSError | None = None

    def receive(self, timeout: float, size: int = _CHUNK) -> bytes:
        """Return received bytes, at most *size*; b"" at the end of the stream."""
        set_timeout, recv, limit = self._set_timeout, self._recv, self._limit
        set_timeout(timeout if limit is None else min(timeout, limit))
        try:
            data = recv(size)
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

    def send_file(self, file: BinaryIO, offset: int, count: int) -> int:
        """Send *count* bytes of *file* from *offset* on, by sendfile(2) if possible; return their number."""
        try:
            self._sock.settimeout(self._send_timeout)
            sent = self._sock.sendfile(file, offset, count)
        except OSError as error:
            self.failure = error
            raise
        return sent

    def shut_down_reading(self) -> None:
        """End a receive() that waits, as if the client had ended its side. Safe from any thread."""
        try:
            self._sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # the connection is closed

    def linger(self, seconds: float) -> None:
        """End the sending side, and drop input until the client closes or *seconds* have passed.

        Closing with unread input would be a reset, which can destroy the response on its way. (RFC 9112, 9.6)
        """
        deadline = monotonic() + seconds
        try:
            self._sock.shutdown(socket.SHUT_WR)
            while (remaining := deadline - monotonic()) > 0.0 and self.receive(remaining):
                pass
        except OSError:
            pass

    def reset(self) -> None:
        """Reset the connection, so that an incomplete response does not look complete to the client."""
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            detach = getattr(self._sock, "detach", None)
            if detach is None:
                self._sock.close()
            else:  # close before the server's shutdown() sends a FIN
                os.close(detach())
        except OSError:
            pass


class _KernelTimedConnection(BlockingConnection):
    """Uses the timeouts of the kernel: a system call is needed only when a timeout changes.

    After a small read it allocates a small buffer, which is cheaper, and reads the rest if there is one.
    """

    __slots__ = ("_last_was_small", "_timeout")

    def __init__(self, sock: StreamRequest, send_timeout: float) -> None:
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
                data = self._sock.recv(size)
                self._last_was_small = len(data) < _SMALL_READ
                return data
            data = self._sock.recv(_SMALL_READ)
            return data if len(data) < _SMALL_READ else data + self._receive_rest(size - _SMALL_READ)
        except BlockingIOError:
            raise TimeoutError(f"no data was received for {timeout:g} seconds") from None
        except OSError as error:
            self.failure = error
            raise

    def _receive_rest(self, size: int) -> bytes:
        self._last_was_small = False
        try:
            return self._sock.recv(size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""

    def send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except BlockingIOError:
            self.failure = TimeoutError(f"the client took no data for {self._send_timeout:g} seconds")
            raise self.failure from None
        except OSError as error:
            self.failure = error
            raise

    def send_file(self, file: BinaryIO, offset: int, count: int) -> int:
        try:
            return super().send_file(file, offset, count)
        finally:
            self._sock.settimeout(None)


def _timeval(seconds: float) -> bytes:
    microseconds = max(int(seconds * 1_000_000), 1)  # socket(7): zero means no timeout
    return _TIMEVAL.pack(*divmod(microseconds, 1_000_000))
