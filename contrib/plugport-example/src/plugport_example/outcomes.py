"""A plugin of hooks: it counts how requests end, and logs the counts when the server has stopped."""

from __future__ import annotations

from collections import Counter, defaultdict
from threading import Lock
from typing import TYPE_CHECKING, Any

from plugport import hookimpl

if TYPE_CHECKING:
    from plugport import BaseServer, RequestContext
    from plugport.contracts import Server

#: For each server that runs, how many of its requests ended in which way.
outcomes: defaultdict[Server, Counter[str | None]] = defaultdict(Counter)
_lock = Lock()  # requests end in the threads that served them


@hookimpl
def plugport_request_finished(context: RequestContext) -> None:
    """Count a request that has ended."""
    with _lock:
        outcomes[context.server][context.outcome] += 1


@hookimpl
def plugport_request_rejected(server: BaseServer, client_address: Any, reason: str) -> None:
    """Count a request that was rejected."""
    with _lock:
        outcomes[server]["rejected"] += 1


@hookimpl
def plugport_server_stopped(server: BaseServer) -> None:
    """Log the counts."""
    import logging  # late: `plugport list` imports this module, and does not need logging

    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.pop(server, Counter()).items())
    logging.getLogger(__name__).info("%s: %s", server.listening_url(), counts or "no request ended")
