"""Client sockets for tests: a connected one, and a whole exchange over it."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from plugport import BaseServer

__all__ = ["ClientSocket", "Target", "converse", "dial", "socket_of", "target_of"]

_numbers = itertools.count(1)


class ClientSocket(socket.socket):
    """A socket whose close() reaches the server even while a forked child holds a copy of it.

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


class Target(NamedTuple):
    """What a client needs to connect: the arguments of socket.socket() and of its connect()."""

    family: int
    type: int
    address: tuple[Any, ...] | str | bytes


def socket_of(server: BaseServer) -> socket.socket:
    """Return the socket that *server* listens on or receives datagrams with; TypeError if it has none."""
    sock = getattr(server, "socket", None)
    if not isinstance(sock, socket.socket):
        raise TypeError(f"{type(server).__name__} has no socket to connect to; override connect()")
    return sock


def target_of(server: BaseServer) -> Target:
    """Return what a client needs to connect to *server*; TypeError for a server without a socket."""
    sock, address = socket_of(server), server.server_address
    if isinstance(address, int):  # a descriptor, from a server class that leaves it as it was given
        address = sock.getsockname()
    return Target(sock.family, sock.type, address)


def dial(server: BaseServer, timeout: float, folder: Path) -> ClientSocket:
    """Return a socket connected to *server*, for connections or datagrams as the server takes them.

    *timeout*: seconds that each call on it may take. For datagrams over unix sockets it is bound to a file
    in *folder*, so that the server can reply. Raises TypeError for a server without a socket.
    """
    family, kind, address = target_of(server)
    client = ClientSocket(family, kind)
    client.settimeout(timeout)
    try:
        if client.family == getattr(socket, "AF_UNIX", None) and client.type == socket.SOCK_DGRAM:
            path = folder / f"client-{os.getpid()}-{next(_numbers)}"
            client.bind(str(path))
            client._path = path
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def converse(client: socket.socket, data: bytes, size: int | None = None) -> bytes:
    """Send *data* on a connection, and return the reply.

    *size*: how many bytes to wait for; the result is shorter if the server ends the connection before. None:
    end the client's side after *data*, and return all bytes up to the server's end.
    """
    # In one thread: a TLS connection may not be read and written by two at once. Reads and writes alternate:
    # otherwise both sides could wait for each other with full buffers.
    timeout = client.gettimeout()
    client.settimeout(0.0)
    try:
        return _exchange(client, data, size, timeout)
    finally:
        client.settimeout(timeout)


def _exchange(client: socket.socket, data: bytes, size: int | None, timeout: float | None) -> bytes:
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
                    sending = _would_block(error)  # another error ends the sending; its reply may still come
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
    ssl = sys.modules.get("ssl")  # imported already, if the connection goes over TLS
    return isinstance(error, BlockingIOError) or (
        ssl is not None and isinstance(error, (ssl.SSLWantReadError, ssl.SSLWantWriteError))
    )
