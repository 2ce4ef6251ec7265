"""IdleSweep: idle_timeout for strategies that keep many connections in one thread."""

from __future__ import annotations

from plugport.contracts import Server

__all__ = ["IdleSweep"]

#: How many times the connections are checked in one idle_timeout, which may be late by that fraction.
_CHECKS = 4


class IdleSweep:
    """Checks all connections of a server periodically, and aborts those that were idle for too long.

    So a connection needs no timer of its own, and traffic costs no more than setting ``context.active``.
    """

    def __init__(self, server: Server) -> None:
        assert server.idle_timeout is not None
        self._server = server
        self._idle_timeout = server.idle_timeout
        #: For each connection, how many checks in a row found it idle, and how many bytes were unsent then.
        self._idle: dict[int, tuple[int, int]] = {}
        self._schedule()

    def _schedule(self) -> None:
        loop = self._server.serving_loop
        if loop is not None:
            loop.call_later(self._idle_timeout / _CHECKS, self._check)

    def _check(self) -> None:
        server = self._server
        idle = {}
        for key, context in tuple(server.active_requests.items()):
            transport = context.transport
            if transport is None:
                continue  # the request is in a thread, and its socket has the timeout
            checks, unsent_before = self._idle.get(key, (0, 0))
            unsent = transport.get_write_buffer_size()
            if context.active or unsent != unsent_before:
                context.active = False
                checks = 0
            elif checks + 1 < _CHECKS:
                checks += 1
            elif context.aborted_at is None:
                context.aborted_at = float("inf")
                server.expire_request(context, f"it was idle for idle_timeout = {self._idle_timeout} s")
            idle[key] = (checks, unsent)
        self._idle = idle
        self._schedule()
