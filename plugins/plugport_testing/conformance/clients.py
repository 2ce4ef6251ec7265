"""Clients of the cases: connections whose calls wait for a bounded time."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
from typing import Self

from plugport import BaseServer
from plugport_testing.clients import target_of

__all__ = ["Client", "send_and_close"]


class Client:
    """A client's connection; every call waits at most for the timeout of its socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._received = b""

    def send(self, data: bytes) -> None:
        """Send all of *data*."""
        self.sock.sendall(data)

    def write_eof(self) -> None:
        """End the client's side."""
        self.sock.shutdown(socket.SHUT_WR)

    def read_line(self) -> bytes:
        """Return the next line without its end; the incomplete line if the connection ends before."""
        while b"\n" not in self._received:
            data = self.sock.recv(65536)
            if not data:
                line, self._received = self._received, b""
                return line
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def ask(self, line: bytes) -> bytes:
        """Send a line; return the line that comes back."""
        self.send(line + b"\n")
        return self.read_line()

    def read_all(self) -> bytes:
        """Return all bytes up to the end of the connection."""
        chunks = [self._received]
        self._received = b""
        while data := self.sock.recv(262144):
            chunks.append(data)
        return b"".join(chunks)

    def has_ended(self) -> bool:
        """Wait for the end of the connection, or a reset; return False if data comes instead."""
        try:
            return not self._received and self.sock.recv(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        """Disconnect. The server notices it even while a forked child holds a copy of the socket."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


_SEND_AND_CLOSE = """
import socket, sys
client = socket.socket(int(sys.argv[1]))
client.settimeout(10)
client.connect(eval(sys.argv[2]))
client.sendall(bytes.fromhex(sys.argv[3]))
assert not int(sys.argv[5]) or client.recv(1)
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes.fromhex(sys.argv[4]))
client.close()
"""


def send_and_close(server: BaseServer, data: bytes, *, reset: bool, wait: bool = True) -> None:
    """Connect, send *data*, and close or *reset* the connection; with *wait*, after a byte of the reply.

    It runs in a process of its own, so that no forked child of this process holds a copy of the socket.
    """
    linger = struct.pack("ii", reset, 0).hex()
    family, _, address = target_of(server)
    command = [sys.executable, "-I", "-S", "-c", _SEND_AND_CLOSE]
    command += [str(int(family)), repr(address), data.hex(), linger, str(int(wait))]
    subprocess.run(command, check=True, timeout=30)
