"""Waits that are bounded, for a condition and for a call, and what a server may leave behind."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Holdings", "settled", "wait_until", "within"]

_POLL = 0.002


def wait_until(condition: Callable[[], Any], timeout: float, what: str) -> Any:
    """Return what *condition* gives once that is true; AssertionError after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {timeout:g} s in vain for {what}"
        time.sleep(_POLL)
    return result


def settled(value: Callable[[], int], still: float, timeout: float) -> int:
    """Return *value* once it has not changed for *still* seconds; AssertionError after *timeout*."""
    deadline = time.monotonic() + timeout
    last, since = value(), time.monotonic()
    while time.monotonic() < since + still:
        time.sleep(_POLL)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        assert time.monotonic() < deadline, f"still growing after {timeout:g} s, at {last}"
    return last


def within(timeout: float, what: str, function: Callable[..., Any], *args: Any) -> Any:
    """Return function(*args), or raise what it raises; AssertionError if it takes longer."""
    outcome: list[tuple[Any, BaseException | None]] = []

    def call() -> None:
        try:
            outcome.append((function(*args), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(timeout)
    assert outcome, f"{what} takes longer than {timeout:g} s"
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


class Holdings:
    """The threads, descriptors and children of this process now, to be compared with those later."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._files = _open_files()
        self._children = _has_children()

    def assert_unchanged(self, timeout: float) -> None:
        """Wait for what is new to go away; AssertionError that names what stays."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self._leaks(), timeout, "what is new to go away")
        leaks = self._leaks()
        assert not leaks, f"left behind: {', '.join(leaks)}"

    def _leaks(self) -> list[str]:
        found = [f"thread {thread.name}" for thread in set(threading.enumerate()) - self._threads]
        found += [f"descriptor {fd} of {what}" for fd, what in _open_files().items() - self._files.items()]
        found += ["a child"] * (_has_children() and not self._children)
        return found


def _open_files() -> dict[int, str]:
    found: dict[int, str] = {}
    with contextlib.suppress(OSError):  # a platform without /dev/fd
        for name in os.listdir("/dev/fd"):
            with contextlib.suppress(OSError):  # that of listdir itself
                found[int(name)] = os.readlink(f"/dev/fd/{name}")
    return found


def _has_children() -> bool:
    """Whether this process has children, zombies included."""
    if not hasattr(os, "waitid"):
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
