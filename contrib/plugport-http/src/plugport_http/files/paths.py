"""From a request's path to an open file or directory below a root, and never out of it.

Each name is opened in the directory before it, without following a symbolic link, so that nothing
that is changed meanwhile leads elsewhere. What is neither a regular file nor a directory is not opened.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from urllib.parse import quote_from_bytes, unquote_to_bytes

from plugport_http.engine import HTTPError

__all__ = ["OpenedPath", "error_for", "find", "open_below", "quote_path", "split_path"]

_DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
#: Of a FIFO that came into the place of a file open() would wait for the other end.
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0)
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class OpenedPath:
    """An open file or directory: ``fd``, which is whoever found it to close, and ``stat``."""

    __slots__ = ("fd", "stat")

    def __init__(self, fd: int, status: os.stat_result) -> None:
        self.fd = fd
        self.stat = status

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.stat.st_mode)


def split_path(path: bytes, *, dot_files: bool) -> list[bytes]:
    """Return the names of a request's path, decoded once; the last one is b"" after a slash at the end.

    Raises HTTPError for what is malformed, and for names that are never served.
    """
    if _BAD_ESCAPE.search(path):
        raise HTTPError(400, "the path is malformed")
    names = [unquote_to_bytes(name) for name in path[1:].split(b"/")]
    for name in names[:-1]:
        if not name:
            raise HTTPError(404, "")
    for name in names:
        if b"\0" in name:
            raise HTTPError(400, "the path is malformed")
        # A slash that was encoded is no part of any name; a backslash is one to other systems.
        if b"/" in name or b"\\" in name or name in (b".", b".."):
            raise HTTPError(404, "")
        if not dot_files and name.startswith(b"."):
            raise HTTPError(404, "")
    return names


def quote_path(names: list[bytes]) -> bytes:
    """Return names as a path that begins with one slash."""
    return b"/" + b"/".join(quote_from_bytes(name, safe="").encode() for name in names)


def find(root: bytes, names: list[bytes], *, follow: bool) -> OpenedPath:
    """Open what *names* lead to from *root*. *follow*: symbolic links, wherever they lead.

    Raises HTTPError if there is no such thing, or it may not be read.
    """
    try:
        fd = os.open(root, _DIRECTORY)
        try:
            for name in names[:-1]:
                inner = os.open(name, _DIRECTORY | (0 if follow else os.O_NOFOLLOW), dir_fd=fd)
                os.close(fd)
                fd = inner
            if names and names[-1]:
                return open_below(fd, names[-1], follow=follow)
            found = OpenedPath(fd, os.fstat(fd))
            fd = -1
            return found
        finally:
            if fd >= 0:
                os.close(fd)
    except OSError as error:
        raise error_for(error) from error


def open_below(fd: int, name: bytes, *, follow: bool) -> OpenedPath:
    """Open *name* in the directory *fd*. Raises OSError, and HTTPError for what is no file or directory."""
    flags = _FILE if follow else _FILE | os.O_NOFOLLOW
    _refuse_special(os.stat(name, dir_fd=fd, follow_symlinks=follow))
    opened = os.open(name, flags, dir_fd=fd)
    try:
        status = os.fstat(opened)
        _refuse_special(status)
    except BaseException:
        os.close(opened)
        raise
    return OpenedPath(opened, status)


def _refuse_special(status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFLNK:
        raise HTTPError(404, "")
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise HTTPError(403, "")


def error_for(error: OSError) -> HTTPError:
    """Return how a request is refused whose file can't be opened."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL):
        return HTTPError(404, "")
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENXIO):
        return HTTPError(403, "")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return HTTPError(503, "")
    return HTTPError(500, "")
