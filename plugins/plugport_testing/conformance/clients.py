"""The client's side of the cases; it waits for a bounded time."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
from typing import Any, Self

__all__ = ["Client", "send_and_close"]


class Client:
    """A connection as a client has it; every call waits for the socket's timeout at most."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self._received = b""

    def send(self, data: bytes) -> None:
        """Send all of *data*."""
        self.sock.sendall(data)

    def write_eof(self) -> None:
        """Say that there is no more to come."""
        self.sock.shutdown(socket.SHUT_WR)

    def read_line(self) -> bytes:
        """Return the next line, without its end; what is left of one if the connection ends before."""
        while b"\n" not in self._received:
            data = self.sock.recv(65536)
            if not data:
                line, self._received = self._received, b""
                return line
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def ask(self, line: bytes) -> bytes:
        """Send a line, return the line that comes back."""
        self.send(line + b"\n")
        return self.read_line()

    def read_all(self) -> bytes:
        """Return all that comes until the connection ends."""
        chunks = [self._received]
        self._received = b""
        while data := self.sock.recv(262144):
            chunks.append(data)
        return b"".join(chunks)

    def has_ended(self) -> bool:
        """Wait for the server to end the connection, by its end or a reset; False if more comes."""
        try:
            return not self._received and self.sock.recv(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        """Go away. The server sees it although a forked child holds a copy of the socket."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


_LEAVE = """
import socket, sys
client = socket.socket(int(sys.argv[1]))
client.settimeout(10)
client.connect(eval(sys.argv[2]))
client.sendall(bytes.fromhex(sys.argv[3]))
assert not int(sys.argv[5]) or client.recv(1)
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes.fromhex(sys.argv[4]))
client.close()
"""


def send_and_close(server: Any, question: bytes, *, reset: bool, wait: bool = True) -> None:
    """Connect, ask, *wait* for a byte of the answer or don't, and close or *reset* the connection.

    In a process of its own: no forked child of this one holds a copy of that socket.
    """
    linger = struct.pack("ii", reset, 0).hex()
    command = [sys.executable, "-I", "-S", "-c", _LEAVE]
    family, address = int(server.socket.family), server.server_address
    command += [str(family), repr(address), question.hex(), linger, str(int(wait))]
    subprocess.run(command, check=True, timeout=30)
