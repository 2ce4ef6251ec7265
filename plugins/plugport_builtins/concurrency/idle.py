"""IdleSweep: idle_timeout for strategies that hold many connections in one thread."""

from __future__ import annotations

from typing import Any

__all__ = ["IdleSweep"]

#: Looks at the table in the time of one idle_timeout: it may be late by that part of itself.
_LOOKS = 4


class IdleSweep:
    """Looks at all connections of a server now and then, and cuts those that were silent for too long.

    So a connection needs no timer of its own, and its bytes cost no more than the note that there
    were some (``context.active``).
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._interval = server.idle_timeout / _LOOKS
        #: How often each connection was found silent, and how much it had unsent.
        self._silent: dict[int, tuple[int, int]] = {}
        self._arm()

    def _arm(self) -> None:
        loop = self._server.serving_loop
        if loop is not None:
            loop.call_later(self._interval, self._look)

    def _look(self) -> None:
        server = self._server
        silent = {}
        for key, context in tuple(server.active_requests.items()):
            transport = context.transport
            if transport is None:
                continue  # a thread has it, and its socket has the timeout
            times, unsent_before = self._silent.get(key, (0, 0))
            unsent = transport.get_write_buffer_size()
            if context.active or unsent != unsent_before:
                context.active = False
                times = 0
            elif times + 1 < _LOOKS:
                times += 1
            elif context.aborted_at is None:
                context.aborted_at = float("inf")
                server.expire_request(context, f"it was idle for idle_timeout = {server.idle_timeout} s")
            silent[key] = (times, unsent)
        self._silent = silent
        self._arm()
