"""counter: the number of the request, counted in memory that all requests share."""

from __future__ import annotations

from plugport_builtins.handlers.inet import InetHandler

__all__ = ["CounterHandler"]


class CounterHandler(InetHandler):
    """Replies to each request with its number and LF; the first since the service started is 1.

    It is refused under a forking strategy, where each child would count in a copy of the memory. Threads take
    the server's lock.
    """

    shared_state = True
    thread_safe = True

    def reply(self, data: bytes) -> bytes:
        """Count the request, and return its number."""
        state = self.server.state
        with self.server.lock:
            state.count = getattr(state, "count", 0) + 1
            return b"%d\n" % state.count
