"""FileRegion: a part of a file in a transport's queue of unsent data."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket

__all__ = ["FileRegion", "OpenFile"]

#: Bytes sent in one call: one client gets no more in a turn of the loop.
_MOST = 1 << 20
#: Bytes read at once if sendfile(2) does not work with the file.
_READ_SIZE = 65536
_HAS_SENDFILE = hasattr(os, "sendfile")
#: The errors of sendfile(2) for a file or socket that it does not work with.
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.EOVERFLOW})


class OpenFile(Protocol):
    """A file with a descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""


class FileRegion:
    """*count* bytes of an open file from *offset* on; *done* is called after the last of them was sent."""

    __slots__ = ("_file", "_offset", "_uses_sendfile", "done", "left")

    def __init__(self, file: OpenFile, offset: int, count: int, done: Callable[[], None]) -> None:
        self._file = file
        self._offset = offset
        self._uses_sendfile = True
        #: Bytes that are unsent.
        self.left = count
        self.done = done

    def send(self, sock: socket.socket) -> int:
        """Send a part; return how many bytes. Raises OSError, also if the file became shorter."""
        sent = self._send(sock)
        if not sent:
            raise OSError(errno.EIO, "the file has become shorter while it was sent")
        self._offset += sent
        self.left -= sent
        return sent

    def __bytes__(self) -> bytes:
        """Return the unsent bytes."""
        return os.pread(self._file.fileno(), self.left, self._offset)

    def _send(self, sock: socket.socket) -> int:
        fd = self._file.fileno()
        if self._uses_sendfile and _HAS_SENDFILE and hasattr(sock, "sendfile"):  # not in memory
            try:
                return os.sendfile(sock.fileno(), fd, self._offset, min(self.left, _MOST))
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._uses_sendfile = False
        data = os.pread(fd, min(self.left, _READ_SIZE), self._offset)
        return sock.send(data) if data else 0
