"""Waits that are bounded: for a condition, for a value to settle, for a call to return."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["PATIENCE", "wait_until", "wait_until_stable", "within"]

_POLL = 0.002


def _patience() -> float:
    text = os.environ.get("PLUGPORT_TEST_PATIENCE", "10")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise ValueError(f"PLUGPORT_TEST_PATIENCE: {text!r} is no number of seconds above 0")
    return seconds


#: Seconds that anything may take on a slow machine; the variable PLUGPORT_TEST_PATIENCE sets it.
PATIENCE = _patience()


def wait_until(condition: Callable[[], Any], timeout: float, what: str) -> Any:
    """Return what *condition* gives once that is true; AssertionError after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(_POLL)
    return result


def wait_until_stable(value: Callable[[], int], still: float, timeout: float) -> int:
    """Return *value* once it has not changed for *still* seconds; AssertionError after *timeout*."""
    deadline = time.monotonic() + timeout
    last, since = value(), time.monotonic()
    while time.monotonic() < since + still:
        time.sleep(_POLL)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() > deadline:
            raise AssertionError(f"still growing after {timeout:g} s, at {last}")
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
    if not outcome:
        raise AssertionError(f"{what} takes longer than {timeout:g} s")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result
