"""FileCache: small files in memory, with their heads ready; each use looks whether the file is the same."""

from __future__ import annotations

import os
import time
from threading import Lock

from plugport_http.engine import ResponseHead

__all__ = ["CachedFile", "FileCache", "Signature", "file_signature"]

#: Bytes of a file that is kept.
MOST = 65536
#: Nanoseconds for which a file must have been left alone: two changes in a tick of the file system's
#: clock look like one.
_SETTLED = 1_000_000_000

Signature = tuple[int, int, int, int, int]


def file_signature(status: os.stat_result) -> Signature:
    """Return what changes when a file does."""
    return (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_dev)


class CachedFile:
    """A file's content and head; *checks*: paths and their signatures that hold as long as these do.

    None is the signature of what is not there. *follow*: links are followed.
    """

    __slots__ = ("_checks", "_look", "content", "cost", "head")

    def __init__(
        self, head: ResponseHead, content: bytes, checks: list[tuple[bytes, Signature | None]], follow: bool
    ) -> None:
        self.head = head
        self.content = content
        self._checks = tuple(checks)
        # Beside the content: the head, the objects, the paths, and the key, which is one that may be encoded.
        self.cost = len(content) + 1024 + 4 * sum(len(path) for path, _ in checks)
        self._look = os.stat if follow else os.lstat

    def is_current(self) -> bool:
        """Whether the file has not changed, nor others come that would be sent in its place."""
        for path, signature in self._checks:
            try:
                status = self._look(path)
            except OSError:
                if signature is not None:
                    return False
            else:
                if signature != file_signature(status):
                    return False
        return True


class FileCache:
    """The files by what they were asked for; the oldest make room. Threads may share it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._lock = Lock()
        self._files: dict[object, CachedFile] = {}
        self.get = self._files.get

    def keeps(self, status: os.stat_result) -> bool:
        """Whether a file of that state can be kept."""
        changed = max(status.st_mtime_ns, status.st_ctime_ns)
        return status.st_size <= min(MOST, self._size) and time.time_ns() - changed > _SETTLED

    def put(self, key: object, file: CachedFile) -> None:
        """Keep a file."""
        with self._lock:
            self._drop(key)
            self._files[key] = file
            self._used += file.cost
            while self._used > self._size:
                self._drop(next(iter(self._files)))

    def drop(self, key: object) -> None:
        """Forget a file that is not current."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: object) -> None:
        file = self._files.pop(key, None)
        if file is not None:
            self._used -= file.cost
