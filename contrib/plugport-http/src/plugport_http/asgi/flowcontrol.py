"""FlowControl: where senders wait while the connection has too much unsent."""

from __future__ import annotations

import asyncio

__all__ = ["ClientDisconnectedError", "FlowControl"]


class ClientDisconnectedError(ConnectionError):
    """What an application that sends is told when its client is gone. (An OSError, as ASGI 2.4 wants it.)"""


class FlowControl:
    """Shut and opened by a protocol's pause_writing() and resume_writing()."""

    __slots__ = ("_waiters", "paused")

    def __init__(self) -> None:
        self.paused = False
        self._waiters: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        """Wait until there is room to write."""
        while self.paused:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def open(self) -> None:
        """Let all who wait go on: there is room, or nobody to write to."""
        self.paused = False
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
