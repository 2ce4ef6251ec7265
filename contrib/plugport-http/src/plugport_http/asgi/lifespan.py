"""Lifespan: an application is told before the first request, and after the last one. (ASGI lifespan, 2.0)"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Literal

from plugport.errors import StartupError

__all__ = ["Lifespan", "LifespanMode"]

logger = logging.getLogger("plugport.http.asgi")

#: "auto": an application that fails when it is called for it, before it says more, has none.
LifespanMode = Literal["auto", "on", "off"]


class Lifespan:
    """One application's lifespan on one event loop. ``state`` is what it gives to its requests."""

    def __init__(self, application: Callable[..., Any], mode: LifespanMode) -> None:
        self._application = application
        self._mode = mode
        self.state: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answer: asyncio.Future[str | None] | None = None  # to what it was told last
        self._answered: set[str] = set()

    async def start(self) -> None:
        """Tell it that the server starts. Raises StartupError if it says that it can't, or must and fails."""
        if self._mode == "off":
            return
        self._task = asyncio.create_task(self._run(), name="lifespan")
        failure = await self._notify("startup")
        if failure is None:
            return
        task, self._task = self._task, None
        error = None if not task.done() or task.cancelled() else task.exception()
        await _end(task)
        if "startup" in self._answered:
            logger.debug("the application's startup failed: %s", failure)
            raise StartupError(f"the application's startup failed: {_last_line(failure)}")
        if self._mode == "on":
            raise StartupError(f"lifespan=on, and the application has none: {_last_line(failure)}") from error
        logger.info("the application has no lifespan: %s", _last_line(failure))

    async def stop(self) -> None:
        """Tell it that the server has ended, and wait for its end."""
        if self._task is None:
            return
        if self._task.done():
            if "shutdown" not in self._answered:
                self._log_end()
            return
        failure = await self._notify("shutdown")
        if failure is not None:
            logger.error("the application's shutdown failed: %s", failure or "it does not say why")
        await _end(self._task)

    async def _notify(self, what: str) -> str | None:
        """Return None if the application completes *what*, else why it does not."""
        self._answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": f"lifespan.{what}"})
        return await self._answer

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        failure = "it returned without a word"
        try:
            await self._application(scope, self._events.get, self._send)
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(failure)

    async def _send(self, message: dict[str, Any]) -> None:
        kind: str = message["type"]
        _, _, rest = kind.partition("lifespan.")
        what, _, outcome = rest.partition(".")
        expected = "shutdown" if "startup" in self._answered else "startup"
        if what != expected or outcome not in ("complete", "failed") or what in self._answered:
            raise RuntimeError(
                f"a lifespan has no message {kind!r} now; expected lifespan.{expected}.complete"
            )
        self._answered.add(what)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None if outcome == "complete" else str(message.get("message", "")))

    def _log_end(self) -> None:
        error = None if self._task is None or self._task.cancelled() else self._task.exception()
        if error is not None:
            logger.error("the application's lifespan failed while it served", exc_info=error)


def _last_line(failure: str) -> str:
    """Return the last line of what an application says: some send a whole traceback."""
    lines = failure.strip().splitlines()
    if len(lines) < 2:
        return failure.strip() or "it does not say why"
    return f"{lines[-1]} (--log-level debug shows all of it)"


async def _end(task: asyncio.Task[None]) -> None:
    """Wait for the end of a task that has said its last word, and do not wait for ever."""
    done, _ = await asyncio.wait([task], timeout=1.0)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=1.0)
    if task.done() and not task.cancelled():
        task.exception()  # was told of, or comes after its last word
