"""What a server may leave behind: threads, descriptors, children, socket files."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from pathlib import Path

from patience import PATIENCE, wait_until


class Holdings:
    """What this process holds now, to be compared with what it holds later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = set(threading.enumerate())
        self._files = open_files()
        self._children = has_children()

    def assert_unchanged(self) -> None:
        """Wait for what is new to go away; AssertionError that names what stays."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self.leaks(), timeout=PATIENCE / 2)
        leaks = self.leaks()
        assert not leaks, f"left behind: {', '.join(leaks)}"

    def leaks(self) -> list[str]:
        """What is there now and was not before."""
        found = [f"thread {thread.name}" for thread in set(threading.enumerate()) - self._threads]
        found += [f"descriptor {fd} of {what}" for fd, what in open_files().items() - self._files.items()]
        found += ["a child"] * (has_children() and not self._children)
        found += [f"socket file {path}" for path in socket_files(self._folder)]
        return found


def open_files() -> dict[int, str]:
    """The descriptors of this process, and what they are of."""
    found = {}
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # that of listdir itself
            found[int(name)] = os.readlink(f"/dev/fd/{name}")
    return found


def has_children() -> bool:
    """Whether this process has children, zombies included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def socket_files(folder: Path) -> list[Path]:
    """The socket files below *folder*."""
    return [path for path in folder.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]
