"""FlowControl: makes senders wait while too much of a connection is unsent."""

from __future__ import annotations

import asyncio

__all__ = ["ClientDisconnectedError", "FlowControl"]


class ClientDisconnectedError(ConnectionError):
    """Raised by send() after the client disconnected. (An OSError, as the HTTP spec version 2.4 requires.)"""


class FlowControl:
    """The state between a protocol's pause_writing() and resume_writing()."""

    __slots__ = ("_waiters", "paused")

    def __init__(self) -> None:
        self.paused = False
        self._waiters: list[asyncio.Future[None]] = []

    async def drain(self) -> None:
        """Wait until writing is resumed."""
        while self.paused:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def resume(self) -> None:
        """End all waits: writing is resumed, or the connection is lost."""
        self.paused = False
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
