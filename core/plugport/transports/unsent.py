"""Unsent: data that a connection's transport was given to send and the socket has not accepted yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from plugport.contracts.interfaces import Buffer
from plugport.transports.regions import FileRegion

if TYPE_CHECKING:
    import socket

__all__ = ["Unsent"]

#: Pieces given to one sendmsg(); below every platform's IOV_MAX.
_MAX_PIECES = 64


class Unsent:
    """Pieces of bytes and regions of files, in the order in which they are to be sent.

    ``size`` is the number of all bytes. A queue without bytes is false.
    """

    __slots__ = ("_files", "_pieces", "size")

    def __init__(self) -> None:
        self._pieces: deque[Any] = deque()
        self._files = 0
        self.size = 0

    def __bool__(self) -> bool:
        return self.size > 0

    def __iter__(self) -> Iterator[bytes | memoryview | FileRegion]:
        return iter(self._pieces)

    def append(self, data: Buffer) -> None:
        """Add *data*; a copy of it if its owner may change it."""
        piece = data if isinstance(data, bytes) else bytes(data)
        self._pieces.append(piece)
        self.size += len(piece)

    def append_file(self, region: FileRegion) -> None:
        """Add a part of a file."""
        self._pieces.append(region)
        self._files += 1
        self.size += region.left

    def send(self, sock: socket.socket) -> Callable[[], None] | None:
        """Send a part. Return ``done`` of a file whose last bytes were sent, else None. Raises OSError."""
        pieces = self._pieces
        first = pieces[0]
        if self._files:
            if type(first) is FileRegion:
                return self._send_file(first, sock)
            sent = sock.send(first)
        elif len(pieces) > 1 and hasattr(sock, "sendmsg"):
            sent = sock.sendmsg(islice(pieces, _MAX_PIECES))
        else:
            sent = sock.send(first)
        self.size -= sent
        while sent:
            size = len(pieces[0])
            if sent < size:
                pieces[0] = memoryview(pieces[0])[sent:]
                break
            sent -= size
            pieces.popleft()
        return None

    def _send_file(self, region: FileRegion, sock: socket.socket) -> Callable[[], None] | None:
        self.size -= region.send(sock)
        if region.left:
            return None
        self._pieces.popleft()
        self._files -= 1
        return region.done
