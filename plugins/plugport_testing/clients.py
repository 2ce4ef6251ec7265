"""The client's side of a test: sockets that are connected to a server, and a whole exchange with one."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import socket
import sys
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

    # In one thread: over TLS a connection may not be read and written by two at once. And by turns: else
    # both sides could wait for the other with their buffers full.
    timeout = client.gettimeout()
    client.settimeout(0.0)
    try:
        return _exchange(client, data, size, timeout)
    finally:
        client.settimeout(timeout)


def _exchange(client: Any, data: bytes, size: int | None, timeout: float | None) -> bytes:
    rest = memoryview(data)
    sending = True
    received = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while size is None or len(received) < size:
            if sending:
                try:
                    rest = rest[client.send(rest) :] if rest else rest
                    sending = bool(rest)
                    if size is None and not sending:
                        client.shutdown(socket.SHUT_WR)
                except OSError as error:
                    sending = _would_block(error)  # else it did not want it all; what it answers tells
                if not sending:
                    selector.modify(client, selectors.EVENT_READ)
            try:
                chunk = client.recv(262144 if size is None else size - len(received))
            except OSError as error:
                if not _would_block(error):
                    raise
                if not selector.select(timeout):
                    raise TimeoutError("timed out") from None
            else:
                if not chunk:
                    break
                received += chunk
    return bytes(received)


def _would_block(error: OSError) -> bool:
    ssl: Any = sys.modules.get("ssl")  # who has a connection over TLS has imported it
    return isinstance(error, BlockingIOError) or (
        ssl is not None and isinstance(error, ssl.SSLWantReadError | ssl.SSLWantWriteError)
    )
