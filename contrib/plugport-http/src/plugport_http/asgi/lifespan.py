"""Lifespan: the startup and shutdown events of an application. (ASGI Lifespan Protocol, 2.0)"""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from plugport.errors import StartupError

from plugport_http.asgi.interface import ASGIApplication, Message, State

__all__ = ["Lifespan", "LifespanMode"]

logger = logging.getLogger("plugport.http.asgi")

#: "auto": an application that raises before it answers the startup event has no lifespan.
LifespanMode = Literal["auto", "on", "off"]


_NO_REASON = "no reason was given"


class Lifespan:
    """The lifespan of one application on one event loop. ``state`` is copied to the scope of each request."""

    def __init__(self, application: ASGIApplication, mode: LifespanMode) -> None:
        self._application = application
        self._mode = mode
        self.state: State = {}
        self._task: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[str | None] | None = None  # to the last event
        self._answered: set[str] = set()

    async def start(self) -> None:
        """Send the startup event. Raises StartupError if startup fails, or if there must be a lifespan."""
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
            raise StartupError(
                f"lifespan=on, but the application has no lifespan: {_last_line(failure)}; set lifespan=auto"
            ) from error
        logger.info("the application has no lifespan: %s", _last_line(failure))

    async def stop(self) -> None:
        """Send the shutdown event, and wait for the application to end."""
        if self._task is None:
            return
        if self._task.done():
            if "shutdown" not in self._answered:
                self._log_failure()
            return
        failure = await self._notify("shutdown")
        if failure is not None:
            logger.error("the application's shutdown failed: %s", failure or _NO_REASON)
        await _end(self._task)

    async def _notify(self, event: str) -> str | None:
        """Send *event*; return None if the application completes it, else the reason."""
        self._answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": f"lifespan.{event}"})
        return await self._answer

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        failure = "it returned without an answer"
        try:
            await self._application(scope, self._events.get, self._send)
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(failure)

    async def _send(self, message: Message) -> None:
        kind: str = message["type"]
        _, _, rest = kind.partition("lifespan.")
        event, _, outcome = rest.partition(".")
        expected = "shutdown" if "startup" in self._answered else "startup"
        if event != expected or outcome not in ("complete", "failed") or event in self._answered:
            raise RuntimeError(f"{kind!r} is not allowed now; send lifespan.{expected}.complete or .failed")
        self._answered.add(event)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None if outcome == "complete" else str(message.get("message", "")))

    def _log_failure(self) -> None:
        error = None if self._task is None or self._task.cancelled() else self._task.exception()
        if error is not None:
            logger.error("the application's lifespan failed between startup and shutdown", exc_info=error)


def _last_line(failure: str) -> str:
    """Return the last line of a reason: some applications send a whole traceback."""
    lines = failure.strip().splitlines()
    if len(lines) < 2:
        return failure.strip() or _NO_REASON
    return f"{lines[-1]} (--log-level debug shows all lines)"


async def _end(task: asyncio.Task[None]) -> None:
    """Wait for the end of a task that has answered the last event; cancel it after a second."""
    done, _ = await asyncio.wait([task], timeout=1.0)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=1.0)
    if task.done() and not task.cancelled():
        task.exception()  # marks it as retrieved: it was reported, or came after the last answer
