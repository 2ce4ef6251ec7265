"""Bounded waits: for a condition, for a value to become stable, for a call to return."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["PATIENCE", "wait_until", "wait_until_stable", "within"]

_Result = TypeVar("_Result")
_Parameters = ParamSpec("_Parameters")

#: Seconds between two looks at a condition.
_POLL = 0.002


def _read_patience() -> float:
    text = os.environ.get("PLUGPORT_TEST_PATIENCE", "10")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise ValueError(f"PLUGPORT_TEST_PATIENCE: {text!r} is no number of seconds above 0")
    return seconds


#: The longest wait in seconds on a slow machine; the environment variable PLUGPORT_TEST_PATIENCE sets it.
PATIENCE = _read_patience()


def wait_until(condition: Callable[[], _Result], timeout: float, what: str) -> _Result:
    """Call *condition* until its result is true, and return that; AssertionError after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(_POLL)
    return result


def wait_until_stable(value: Callable[[], int], stable: float, timeout: float) -> int:
    """Return *value* once it has not changed for *stable* seconds; AssertionError after *timeout*."""
    deadline = time.monotonic() + timeout
    last, since = value(), time.monotonic()
    while time.monotonic() < since + stable:
        time.sleep(_POLL)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() > deadline:
            raise AssertionError(f"still changing after {timeout:g} s, at {last}")
    return last


def within(
    timeout: float,
    what: str,
    function: Callable[_Parameters, _Result],
    *args: _Parameters.args,
    **kwargs: _Parameters.kwargs,
) -> _Result:
    """Return the result of *function*, or raise its error; AssertionError if it takes longer.

    It is called in a thread, which goes on after a timeout.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function(*args, **kwargs))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(timeout)
    if errors:
        raise errors[0]
    if not results:
        raise AssertionError(f"{what} takes longer than {timeout:g} s")
    return results[0]
