"""Waits that are bounded: for a condition, and for a call to return."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

#: Seconds that anything may take on a slow machine.
PATIENCE = float(os.environ.get("PLUGPORT_TEST_PATIENCE", "10"))


def wait_until(condition: Callable[[], Any], timeout: float = PATIENCE, what: str = "") -> Any:
    """Return what *condition* gives once it is true; AssertionError after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {timeout} s in vain{what and ' for ' + what}"
        time.sleep(0.002)
    return result


class Call(threading.Thread):
    """A call under way in a daemon thread."""

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(daemon=True)
        self._call = lambda: function(*args, **kwargs)
        self._name = f"Call({getattr(function, '__qualname__', function)})"
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.value = self._call()
        except BaseException as error:
            self.error = error

    def result(self, timeout: float = PATIENCE) -> Any:
        """What the call returned or raised; AssertionError if it takes longer than *timeout* seconds."""
        self.join(timeout)
        assert not self.is_alive(), f"{self.name} has not returned after {timeout} s"
        if self.error is not None:
            raise self.error
        return self.value


def within(timeout: float, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return function(*args, **kwargs); AssertionError if that takes longer than *timeout* seconds."""
    return Call(function, *args, **kwargs).result(timeout)
