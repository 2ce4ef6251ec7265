"""Tally: the counts of one server, which are added to the metrics when these are collected.

A request costs one lock, a few additions and the observation of its duration. The rest is done for each
scrape: the counts since the last one are added to the metrics, and the number of active requests and the like
are read from the server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sized
from threading import Lock
from typing import TYPE_CHECKING

from plugport.errors import ChildError

if TYPE_CHECKING:
    from plugport import RequestContext
    from plugport.contracts import Server

    from plugport_prometheus.metrics import Metrics

__all__ = ["Tally"]

_OUTCOMES = ("completed", "failed", "timed-out", "aborted")
#: The label of reasons and errors beyond the limit of different ones.
OTHER = "other"


class Tally:
    """Counts the requests of *server*, for *metrics*.

    *max_names*: how many reasons of rejections, and how many classes of errors, have labels of their own.
    """

    def __init__(self, server: Server, metrics: Metrics, max_names: int) -> None:
        self._server = server
        self._metrics = metrics
        self._max_names = max_names
        self._labels = (server.handler_name, server.listening_url(), server.concurrency_name)
        self._lock = Lock()  # requests end in the threads that served them
        self._outcomes: dict[str, int] = dict.fromkeys(_OUTCOMES, 0)
        self._reasons: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._exits: Counter[str] = Counter()
        self._received = self._sent = 0
        self._started = self._finished = 0
        self._draining = False
        self._observe = metrics.duration.labels(*self._labels).observe
        # Outcomes that have not occurred are shown from the start, as 0.
        for outcome in _OUTCOMES:
            metrics.finished.labels(*self._labels, outcome)
        self.refresh()

    # For each request ------------------------------------------------------------------------------

    def finish(self, context: RequestContext) -> None:
        """Count a request that has ended."""
        with self._lock:
            self._outcomes[context.outcome or "completed"] += 1
            if context.bytes_received:
                self._received += context.bytes_received
            if context.bytes_sent:
                self._sent += context.bytes_sent
        self._observe(context.duration or 0.0)

    def fail(self, error: BaseException) -> None:
        """Count the error of a request, by its class."""
        name = type(error).__name__
        if isinstance(error, ChildError):
            name = str(error).partition(":")[0]  # the class of the error in the child
        self._add(self._errors, name)

    def reject(self, reason: str) -> None:
        """Count a request that was rejected, by the reason."""
        self._add(self._reasons, reason)

    def exit(self, status: int | None) -> None:
        """Count a child that has exited, by its status."""
        with self._lock:
            self._exits[_status_label(status)] += 1

    def drain(self) -> None:
        """Note that the server drains."""
        self._draining = True

    def _add(self, counts: Counter[str], name: str) -> None:
        with self._lock:
            counts[name if name in counts or len(counts) < self._max_names else OTHER] += 1

    # For each scrape -------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Add the counts since the last call to the metrics, and read the others from the server."""
        metrics, labels = self._metrics, self._labels
        with self._lock:
            outcomes, reasons = _taken(self._outcomes), _taken(self._reasons)
            errors, exits = _taken(self._errors), _taken(self._exits)
            received, sent = self._received, self._sent
            self._received = self._sent = 0
            active = len(self._server.active_requests)
            self._finished += sum(outcomes.values())
            # A request that is ending is for a moment neither active nor finished.
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
        children: Sized = getattr(self._server, "active_children", None) or ()
        metrics.children.labels(*labels).set(len(children))
        metrics.draining.labels(*labels).set(self._draining)

    def close(self) -> None:
        """Update the metrics for the last time."""
        self._draining = False
        self.refresh()


def _taken(counts: dict[str, int]) -> dict[str, int]:
    """Return the counts above 0, and set them to 0. The names stay: their number is limited."""
    taken = {name: count for name, count in counts.items() if count}
    for name in taken:
        counts[name] = 0
    return taken


def _status_label(status: int | None) -> str:
    if status is None:
        return "unknown"
    return "completed" if status == 0 else "failed" if status > 0 else "killed"
