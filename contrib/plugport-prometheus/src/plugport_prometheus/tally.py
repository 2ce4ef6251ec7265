"""Tally: what is counted of one server, request by request, and how that comes into the metrics.

A request costs one lock, a few additions and the observation of its duration. Everything else waits
until somebody looks: what was added since is brought over then, and what can be read off the
server itself, as how many requests are active, is read then.
"""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, Any

from plugport.errors import ChildError

if TYPE_CHECKING:
    from plugport import BaseServer, RequestContext

    from plugport_prometheus.metrics import Metrics

__all__ = ["Tally"]

_OUTCOMES = ("completed", "failed", "timed-out", "aborted")
#: What all that is beyond the limit of different reasons is called.
OTHER = "other"


class Tally:
    """Counts for *server*; the label children are looked up once for each.

    *most*: how many reasons of rejections, and errors, are told apart.
    """

    def __init__(self, server: BaseServer, metrics: Metrics, most: int) -> None:
        self._server = server
        self._metrics = metrics
        self._most = most
        self._labels = (server.handler_name, server.listening_url(), server.concurrency_name)
        self._lock = Lock()  # requests end in the threads that served them
        self._outcomes: dict[str | None, int] = dict.fromkeys(_OUTCOMES, 0)
        self._reasons: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._exits: Counter[str] = Counter()
        self._received = self._sent = 0
        self._started = self._finished = 0
        self._draining = False
        self._observe = metrics.duration.labels(*self._labels).observe
        # Those of which nothing has been counted are there from the start, as 0.
        for outcome in _OUTCOMES:
            metrics.finished.labels(*self._labels, outcome)
        self.refresh()

    # As it happens --------------------------------------------------------------------------------

    def finish(self, context: RequestContext) -> None:
        """Count a request that has ended."""
        with self._lock:
            self._outcomes[context.outcome] += 1
            if context.bytes_received:
                self._received += context.bytes_received
            if context.bytes_sent:
                self._sent += context.bytes_sent
        self._observe(context.duration or 0.0)

    def fail(self, error: BaseException) -> None:
        """Count what came out of a handler, by its class."""
        name = type(error).__name__
        if isinstance(error, ChildError):
            name = str(error).partition(":")[0]  # that of the child's
        self._add(self._errors, name)

    def reject(self, reason: str) -> None:
        """Count a request that was turned away, by the reason."""
        self._add(self._reasons, reason)

    def exit(self, status: int | None) -> None:
        """Count a child that has exited, by what has become of it."""
        with self._lock:
            self._exits[_fate(status)] += 1

    def drain(self) -> None:
        """Note that the server takes no more."""
        self._draining = True

    def _add(self, counts: Counter[str], name: str) -> None:
        with self._lock:
            counts[name if name in counts or len(counts) < self._most else OTHER] += 1

    # When somebody looks --------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring the metrics up to date."""
        metrics, labels = self._metrics, self._labels
        with self._lock:
            outcomes, reasons = _taken(self._outcomes), _taken(self._reasons)
            errors, exits = _taken(self._errors), _taken(self._exits)
            received, sent = self._received, self._sent
            self._received = self._sent = 0
            active = len(self._server.active_requests)
            self._finished += sum(outcomes.values())
            # A request that is just ending is in neither, for a moment.
            started = max(self._finished + active - self._started, 0)
            self._started += started
        metrics.started.labels(*labels).inc(started)
        metrics.received.labels(*labels).inc(received)
        metrics.sent.labels(*labels).inc(sent)
        for counter, counts in (
            (metrics.finished, outcomes),
            (metrics.rejected, reasons),
            (metrics.failed, errors),
            (metrics.exited, exits),
        ):
            for name, count in counts.items():
                counter.labels(*labels, name).inc(count)
        metrics.active.labels(*labels).set(active)
        children: Any = getattr(self._server, "active_children", None) or ()
        metrics.children.labels(*labels).set(len(children))
        metrics.draining.labels(*labels).set(self._draining)

    def close(self) -> None:
        """Bring the metrics up to date for the last time."""
        self._draining = False
        self.refresh()


def _taken(counts: dict[Any, int]) -> dict[str, int]:
    """Take what was counted, and keep the names: they are how many are told apart."""
    taken = {name: count for name, count in counts.items() if count}
    for name in taken:
        counts[name] = 0
    return taken


def _fate(status: int | None) -> str:
    if status is None:
        return "unknown"
    return "completed" if status == 0 else "failed" if status > 0 else "killed"
