"""Workers: greenlets in which requests are answered, each a connection's only while that waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import greenlet

__all__ = ["Worker", "idle_workers"]

#: So many are kept when they have nothing to do.
_MAX_IDLE = 8


class Worker(greenlet.greenlet):
    """Does one task after the other: ``task`` is (function, argument, ...), and None once it is done.

    What a task raises ends the worker, and goes to who has switched to it.
    """

    def __init__(self, idle: list[Worker]) -> None:
        super().__init__()
        self._idle = idle
        self._to_loop = greenlet.getcurrent().switch
        self.task: tuple[Callable[..., Any], *tuple[Any, ...]] | None = None

    def run(self) -> None:
        """Do the tasks; between them others run, and the worker is among those that are idle."""
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


_of_thread = threading.local()


def idle_workers() -> list[Worker]:
    """Return the idle workers of the loop in this greenlet; who takes one out gives it a task."""
    loop = greenlet.getcurrent()
    kept: tuple[greenlet.greenlet, list[Worker]] | None = getattr(_of_thread, "kept", None)
    if kept is None or kept[0] is not loop:
        kept = _of_thread.kept = (loop, [])
    return kept[1]
