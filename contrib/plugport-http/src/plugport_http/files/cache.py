"""FileCache: small files in memory with their response heads; each use checks that the file is unchanged."""

from __future__ import annotations

import os
import time
from threading import Lock

from plugport_http.engine import ResponseHead

__all__ = ["CachedFile", "FileCache", "Signature", "file_signature"]

#: Bytes of the largest file that is cached.
MAX_FILE_SIZE = 65536
#: Nanoseconds since the last change before a file is cached: two changes within one tick of the file system's
#: clock have the same time stamp.
_MIN_AGE = 1_000_000_000

Signature = tuple[int, int, int, int, int]


def file_signature(status: os.stat_result) -> Signature:
    """Return the part of a file's status that changes with its content."""
    return (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_dev)


class CachedFile:
    """The content of a file and the head of its response.

    They are valid while each path in *checks* has its signature; None stands for a path that does not exist.
    *follow*: symbolic links are followed.
    """

    __slots__ = ("_checks", "_stat", "content", "cost", "head")

    def __init__(
        self, head: ResponseHead, content: bytes, checks: list[tuple[bytes, Signature | None]], follow: bool
    ) -> None:
        self.head = head
        self.content = content
        self._checks = tuple(checks)
        # Estimated bytes: content, head and objects, paths, and the key, which may be percent-encoded.
        self.cost = len(content) + 1024 + 4 * sum(len(path) for path, _ in checks)
        self._stat = os.stat if follow else os.lstat

    def is_current(self) -> bool:
        """Return whether the file, and the precompressed files beside it, are unchanged."""
        for path, signature in self._checks:
            try:
                status = self._stat(path)
            except OSError:
                if signature is not None:
                    return False
            else:
                if signature != file_signature(status):
                    return False
        return True


class FileCache:
    """Cached files by the key of their request; the oldest are dropped first. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._lock = Lock()
        self._files: dict[object, CachedFile] = {}
        self.get = self._files.get

    def can_store(self, status: os.stat_result) -> bool:
        """Return whether a file with that status is small enough and old enough."""
        changed = max(status.st_mtime_ns, status.st_ctime_ns)
        return status.st_size <= min(MAX_FILE_SIZE, self._size) and time.time_ns() - changed > _MIN_AGE

    def put(self, key: object, file: CachedFile) -> None:
        """Store a file."""
        with self._lock:
            self._drop(key)
            self._files[key] = file
            self._used += file.cost
            while self._used > self._size:
                self._drop(next(iter(self._files)))

    def drop(self, key: object) -> None:
        """Remove a file that is not current."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: object) -> None:
        file = self._files.pop(key, None)
        if file is not None:
            self._used -= file.cost
