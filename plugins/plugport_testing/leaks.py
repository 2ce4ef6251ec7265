"""LeakCheck: finds the threads, descriptors, children and socket files that a test leaves behind."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from plugport_testing.waiting import PATIENCE, wait_until

__all__ = ["LeakCheck", "has_children", "open_files", "socket_files"]


class LeakCheck:
    """Records the threads, descriptors and children of this process, and compares them with later ones.

    *folder*: searched for socket files, with all folders below it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = set(threading.enumerate())
        self._files = open_files()
        self._socket_files = socket_files(folder)
        self._children = has_children()

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """Allow the threads and descriptors that the block creates: an imported module may keep some."""
        threads, files = set(threading.enumerate()), open_files()
        yield
        self._threads |= set(threading.enumerate()) - threads
        self._files |= dict(open_files().items() - files.items())

    def assert_unchanged(self, timeout: float = PATIENCE / 2) -> None:
        """Wait at most *timeout* seconds until nothing new is left; AssertionError names what is."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self._leaks(), timeout, "the release of new resources")
        leaks = self._leaks()
        assert not leaks, f"left behind: {', '.join(leaks)}"

    def _leaks(self) -> list[str]:
        found = [f"thread {thread.name}" for thread in set(threading.enumerate()) - self._threads]
        found += [f"descriptor {fd} of {what}" for fd, what in open_files().items() - self._files.items()]
        found += ["a child"] * (has_children() and not self._children)
        found += [f"socket file {path}" for path in socket_files(self._folder) - self._socket_files]
        return found


def open_files() -> dict[int, str]:
    """Return the open descriptors of this process and their targets; none without /dev/fd."""
    found: dict[int, str] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/dev/fd"):
            with contextlib.suppress(OSError):  # listdir's own descriptor is closed by now
                found[int(name)] = os.readlink(f"/dev/fd/{name}")
    return found


def has_children() -> bool:
    """Return whether this process has children, zombies included."""
    if not hasattr(os, "waitid"):
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def socket_files(folder: Path) -> set[Path]:
    """Return the socket files below *folder*."""
    return {path for path in folder.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)}
