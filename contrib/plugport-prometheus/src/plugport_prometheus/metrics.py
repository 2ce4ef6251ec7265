"""Metrics: the metric families, their names, units and labels, and the registry that has them."""

from __future__ import annotations

import functools
import glob
import os
import re
from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

__all__ = ["Metrics", "make_metrics", "remove_dead_gauges", "shared_folder"]

_LABELS = ("handler", "url", "concurrency")


class Metrics:
    """The metric families of plugport, each with the labels handler, url and concurrency.

    *process*: whether the default registry of prometheus_client is collected too: the figures of the process,
    and metrics of handlers.
    """

    def __init__(self, buckets: tuple[float, ...], *, process: bool) -> None:
        own = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"plugport_{name}", text, (*_LABELS, *labels), registry=own)

        def gauge(name: str, text: str) -> Gauge:
            # With several processes: the sum over those that are alive.
            return Gauge(f"plugport_{name}", text, _LABELS, registry=own, multiprocess_mode="livesum")

        self.started = counter("requests_started", "Connections or datagrams whose handling has begun")
        self.finished = counter("requests_finished", "Requests that have ended, by outcome", "outcome")
        self.failed = counter("requests_failed", "Exceptions of handlers, by their class", "error")
        self.rejected = counter("requests_rejected", "Requests that were rejected, by reason", "reason")
        self.received = counter("received_bytes", "Bytes of payload received by finished requests")
        self.sent = counter("sent_bytes", "Bytes of payload sent by finished requests")
        self.exited = counter("children_exited", "Forked children that have exited, by status", "status")
        self.active = gauge("requests_active", "Requests that are being served")
        self.children = gauge("children", "Forked children that are alive")
        self.draining = gauge("draining", "1 while the server drains")
        self.duration = Histogram(
            "plugport_request_duration_seconds",
            "Seconds from the beginning of a request to its end",
            _LABELS,
            registry=own,
            buckets=buckets,
        )
        #: The registry that the endpoint collects from.
        self.registry = own
        if shared_folder() is not None:
            self.registry = CollectorRegistry()
            MultiProcessCollector(self.registry)  # type: ignore[no-untyped-call]
        elif process:
            own.register(_DefaultRegistry())


class _DefaultRegistry(Collector):
    """Collects prometheus_client's default registry, where handlers put their metrics."""

    def collect(self) -> Iterable[Metric]:
        """Return its metrics."""
        return REGISTRY.collect()


def make_metrics(buckets: tuple[float, ...], *, process: bool) -> Metrics:
    """Return metrics for a service of this process."""
    # Processes that share their metrics have one value for each name and process, not for each service.
    return (_shared if shared_folder() is not None else Metrics)(buckets, process=process)


_shared = functools.cache(Metrics)


def shared_folder() -> str | None:
    """Return the folder by which several processes share their metrics; None if they do not."""
    return os.environ.get("PROMETHEUS_MULTIPROC_DIR")


def remove_dead_gauges(folder: str) -> None:
    """Remove the gauges of processes that have ended. Their counters stay."""
    for path in glob.glob(os.path.join(glob.escape(folder), "gauge_live*.db")):
        found = re.fullmatch(r"gauge_live[a-z]*_(\d+)\.db", os.path.basename(path))
        if found and not _is_alive(int(found[1])):
            try:
                mark_process_dead(found[1], folder)  # type: ignore[no-untyped-call]
            except FileNotFoundError:
                pass  # another process has removed it


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return True
