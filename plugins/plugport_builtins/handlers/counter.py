"""counter: the number of the request, kept in memory that all requests share."""

from __future__ import annotations

from plugport_builtins.handlers.inet import InetHandler

__all__ = ["CounterHandler"]


class CounterHandler(InetHandler):
    """Answers each request with its number and LF, counting from 1 since the service started.

    Forked children would each count a copy of their own, so it is refused there; threads take the
    server's lock.
    """

    shared_state = True
    thread_safe = True

    def reply(self, data: bytes) -> bytes:
        """Count, and return the number."""
        state = self.server.state
        with self.server.lock:
            state.count = getattr(state, "count", 0) + 1
            return b"%d\n" % state.count
