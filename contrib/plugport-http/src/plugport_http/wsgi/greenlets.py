"""Worker: a reusable greenlet that answers requests. A connection keeps one only while it waits."""

from __future__ import annotations

import threading
from collections.abc import Callable

import greenlet

__all__ = ["Worker", "idle_workers"]

#: The number of idle workers to keep for each loop.
_MAX_IDLE = 8


class Worker(greenlet.greenlet):
    """Runs one task after the other. ``task`` is (function, argument, ...), or None when it is done.

    An exception of a task ends the worker, and is raised in the greenlet that switched to it.
    """

    def __init__(self, idle: list[Worker]) -> None:
        super().__init__()
        self._idle = idle
        self._to_loop = greenlet.getcurrent().switch
        self.task: tuple[Callable[..., object], *tuple[object, ...]] | None = None

    def run(self) -> None:
        """Run tasks; between them the worker is in the list of idle workers, and the loop runs."""
        idle = self._idle
        while True:
            task = self.task
            assert task is not None
            try:
                task[0](*task[1:])
            finally:
                self.task = task = None
            if len(idle) >= _MAX_IDLE:
                return
            idle.append(self)
            self._to_loop()


_local = threading.local()


def idle_workers() -> list[Worker]:
    """Return the list of idle workers of the loop that runs in this greenlet."""
    loop = greenlet.getcurrent()
    pool: tuple[greenlet.greenlet, list[Worker]] | None = getattr(_local, "pool", None)
    if pool is None or pool[0] is not loop:
        pool = _local.pool = (loop, [])
    return pool[1]
