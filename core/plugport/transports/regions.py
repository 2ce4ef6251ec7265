"""FileRegion: a part of a file in a transport's queue of what is unsent."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

__all__ = ["FileRegion"]

#: Bytes sent in one call: one client gets no more in a turn.
_MOST = 1 << 20
#: Bytes read at once where the system can't send from the file.
_READ_SIZE = 65536
_CAN_SEND = hasattr(os, "sendfile")
#: What sendfile(2) says of a file or socket that it can't work with.
_UNABLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.EOVERFLOW})


class FileRegion:
    """*count* bytes of an open file from *offset* on; *done* is for whoever sends the last of them."""

    __slots__ = ("_by_system", "_file", "_offset", "done", "left")

    def __init__(self, file: Any, offset: int, count: int, done: Callable[[], None]) -> None:
        self._file = file
        self._offset = offset
        self._by_system = True
        #: Bytes that are unsent.
        self.left = count
        self.done = done

    def send(self, sock: Any) -> int:
        """Send some of it; return how many bytes. Raises OSError, also for a file that is shorter by now."""
        sent = self._send(sock)
        if not sent:
            raise OSError(errno.EIO, "the file has become shorter while it was sent")
        self._offset += sent
        self.left -= sent
        return sent

    def __bytes__(self) -> bytes:
        """What is unsent of it."""
        return os.pread(self._file.fileno(), self.left, self._offset)

    def _send(self, sock: Any) -> int:
        fd = self._file.fileno()
        if self._by_system and _CAN_SEND and hasattr(sock, "sendfile"):  # not in memory
            try:
                return os.sendfile(sock.fileno(), fd, self._offset, min(self.left, _MOST))
            except OSError as error:
                if error.errno not in _UNABLE:
                    raise
                self._by_system = False
        data = os.pread(fd, min(self.left, _READ_SIZE), self._offset)
        sent: int = sock.send(data) if data else 0
        return sent
