"""Clients of a server under test; each waits for a bounded time."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from patience import PATIENCE


class Client(socket.socket):
    """A socket whose close() reaches the peer although a forked child holds a copy of it."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        super().close()


def connect(server: Any, timeout: float = PATIENCE) -> Client:
    """A connection to a stream server, or a socket that talks to a datagram server."""
    return dial(server.socket.family, server.socket.type, server.server_address, timeout)


def dial(family: int, kind: int, address: Any, timeout: float = PATIENCE) -> Client:
    """A socket that is connected to *address*."""
    client = Client(family, kind)
    client.settimeout(timeout)
    try:
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def read_all(client: socket.socket) -> bytes:
    """What comes until the end of the stream."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def ask(server: Any, question: bytes, timeout: float = PATIENCE) -> bytes:
    """Connect, send, say that there is no more, and read to the end."""
    with connect(server, timeout) as client:
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def hear(server: Any, timeout: float = PATIENCE) -> bytes:
    """Connect, and read to the end, of a server that waits for nothing from its clients."""
    with connect(server, timeout) as client:
        return read_all(client)


def datagram_client(
    server: Any, tmp_path: Path, name: str = "client"
) -> contextlib.AbstractContextManager[socket.socket]:
    """A socket that can send to a datagram server and be answered."""
    return correspondent(server.socket.family, server.server_address, tmp_path / name)


@contextlib.contextmanager
def correspondent(family: int, address: Any, path: Path) -> Iterator[socket.socket]:
    """A socket that exchanges datagrams with *address*; a unix socket is bound to *path* meanwhile."""
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        if family != socket.AF_UNIX:
            client.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        else:
            client.bind(str(path))
        client.connect(address)
        try:
            yield client
        finally:
            path.unlink(missing_ok=True)


def vanish(server: Any) -> None:
    """Connect, and reset the connection, from a process whose sockets no child of this one has."""
    script = """
import socket, struct, sys
client = socket.create_connection((sys.argv[1], int(sys.argv[2])))
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
client.close()
"""
    host, port = server.server_address
    subprocess.run([sys.executable, "-S", "-c", script, host, str(port)], check=True, timeout=PATIENCE)


def is_closed(client: socket.socket) -> bool:
    """Whether the server's side is closed, waiting for it: the end of the stream, or a reset."""
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True
