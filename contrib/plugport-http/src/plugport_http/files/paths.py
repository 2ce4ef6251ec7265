"""Opens the file or directory of a request's path, confined to a root directory.

Each name is opened relative to the directory before it, without following symbolic links, so that a change on
disk during the walk can't lead out of the root. Only regular files and directories are opened.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from urllib.parse import quote_from_bytes, unquote_to_bytes

from plugport_http.engine import HTTPError

__all__ = ["OpenedPath", "error_for", "open_below", "open_path", "quote_path", "split_path"]

_DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
#: Without O_NONBLOCK, open() would block on a FIFO that has replaced the file.
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0)
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class OpenedPath:
    """An open file or directory: its descriptor ``fd``, which the caller closes, and its status ``stat``."""

    __slots__ = ("fd", "stat")

    def __init__(self, fd: int, status: os.stat_result) -> None:
        self.fd = fd
        self.stat = status

    @property
    def is_directory(self) -> bool:
        """Whether the path is a directory."""
        return stat.S_ISDIR(self.stat.st_mode)


def split_path(path: bytes, *, dot_files: bool) -> list[bytes]:
    """Return the decoded names in a request's path; the last one is b"" if the path ends in a slash.

    Raises HTTPError if the path is malformed or has a name that is never served.
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
        # No file name has a slash, which was encoded here; a backslash separates names on other systems.
        if b"/" in name or b"\\" in name or name in (b".", b".."):
            raise HTTPError(404, "")
        if not dot_files and name.startswith(b"."):
            raise HTTPError(404, "")
    return names


def quote_path(names: list[bytes]) -> bytes:
    """Return *names* as a percent-encoded path that begins with one slash."""
    return b"/" + b"/".join(quote_from_bytes(name, safe="").encode() for name in names)


def open_path(root: bytes, names: list[bytes], *, follow: bool) -> OpenedPath:
    """Open the file or directory *names* below *root*. *follow*: follow symbolic links, wherever they lead.

    Raises HTTPError if it does not exist or may not be read.
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
            opened = OpenedPath(fd, os.fstat(fd))
            fd = -1
            return opened
        finally:
            if fd >= 0:
                os.close(fd)
    except OSError as error:
        raise error_for(error) from error


def open_below(fd: int, name: bytes, *, follow: bool) -> OpenedPath:
    """Open *name* in the directory *fd*. Raises OSError, or HTTPError if it is not a file or directory."""
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
    """Return the HTTPError for a failure to open a file."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL):
        return HTTPError(404, "")
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENXIO):
        return HTTPError(403, "")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return HTTPError(503, "")
    return HTTPError(500, "")
