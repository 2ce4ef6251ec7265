"""LeakCheck: what a test may leave behind, which are threads, descriptors, children and socket files."""

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
    """The threads, descriptors and children of this process now, to be compared with those later.

    *folder*: where socket files are looked for, however deep.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = set(threading.enumerate())
        self._files = open_files()
        self._socket_files = socket_files(folder)
        self._children = has_children()

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """Count what the block brings about as held before: an import may bring something that stays."""
        threads, files = set(threading.enumerate()), open_files()
        yield
        self._threads |= set(threading.enumerate()) - threads
        self._files |= dict(open_files().items() - files.items())

    def assert_unchanged(self, timeout: float = PATIENCE / 2) -> None:
        """Wait for what is new to go away, *timeout* seconds at most; AssertionError names what stays."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self._leaks(), timeout, "what is new to go away")
        leaks = self._leaks()
        assert not leaks, f"left behind: {', '.join(leaks)}"

    def _leaks(self) -> list[str]:
        found = [f"thread {thread.name}" for thread in set(threading.enumerate()) - self._threads]
        found += [f"descriptor {fd} of {what}" for fd, what in open_files().items() - self._files.items()]
        found += ["a child"] * (has_children() and not self._children)
        found += [f"socket file {path}" for path in socket_files(self._folder) - self._socket_files]
        return found


def open_files() -> dict[int, str]:
    """Return the descriptors of this process, and what they are of; none without a /dev/fd."""
    found: dict[int, str] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/dev/fd"):
            with contextlib.suppress(OSError):  # that of listdir itself
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
