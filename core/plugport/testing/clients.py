"""The client's side of a test: sockets that are connected to a server, and a whole exchange with one."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
from pathlib import Path
from typing import Any

__all__ = ["ClientSocket", "converse", "dial"]

_numbers = itertools.count(1)


class ClientSocket(socket.socket):
    """A socket whose close() reaches the server although a forked child holds a copy of it.

    It removes the file of a unix socket that dial() has bound.
    """

    _path: Path | None = None

    def close(self) -> None:
        """Shut both directions down, and close."""
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        super().close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def dial(server: Any, timeout: float, folder: Path) -> ClientSocket:
    """Return a socket that is connected to *server*, for streams or for datagrams as the server is.

    *timeout*: seconds that each call on it may take. For datagrams over unix sockets it is bound to
    a file in *folder*, so that it can be answered.
    """
    client = ClientSocket(server.socket.family, server.socket.type)
    client.settimeout(timeout)
    try:
        if client.family == getattr(socket, "AF_UNIX", None) and client.type == socket.SOCK_DGRAM:
            path = folder / f"client-{os.getpid()}-{next(_numbers)}"
            client.bind(str(path))
            client._path = path
        client.connect(server.server_address)
    except BaseException:
        client.close()
        raise
    return client


def converse(client: Any, data: bytes, size: int | None = None) -> bytes:
    """Send *data* on a connection, and return what comes back.

    *size*: how many bytes to wait for; less come back if the server ends the connection before.
    None: say that there is no more to come, and return all that comes until the end.
    """

    def send() -> None:
        with contextlib.suppress(OSError):  # the server did not want it all; what it answers tells
            client.sendall(data)
            if size is None:
                client.shutdown(socket.SHUT_WR)

    # Beside the reading: else both sides could wait for the other with their buffers full.
    sender = threading.Thread(target=send, name="sender", daemon=True)
    sender.start()
    try:
        return _read(client, size)
    finally:
        sender.join()


def _read(client: Any, size: int | None) -> bytes:
    received = bytearray()
    while size is None or len(received) < size:
        data = client.recv(262144 if size is None else size - len(received))
        if not data:
            break
        received += data
    return bytes(received)
