"""Metrics: the families that are told of, their names, units and labels; and where they are collected."""

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

__all__ = ["Metrics", "make_metrics", "remove_the_dead", "shared_folder"]

_LABELS = ("handler", "url", "concurrency")


class Metrics:
    """The families, each with the labels handler, url and concurrency.

    *process*: whether what else the process has registered with prometheus_client is collected, too.
    """

    def __init__(self, buckets: tuple[float, ...], *, process: bool) -> None:
        own = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"plugport_{name}", text, (*_LABELS, *labels), registry=own)

        def gauge(name: str, text: str) -> Gauge:
            # Of several processes: the sum of those that live.
            return Gauge(f"plugport_{name}", text, _LABELS, registry=own, multiprocess_mode="livesum")

        self.started = counter("requests_started", "Connections or datagrams whose handling has begun")
        self.finished = counter("requests_finished", "Requests that have ended, by outcome", "outcome")
        self.failed = counter("requests_failed", "Exceptions of handlers, by their class", "error")
        self.rejected = counter("requests_rejected", "Requests that were turned away, by reason", "reason")
        self.received = counter("received_bytes", "Bytes of payload received by finished requests")
        self.sent = counter("sent_bytes", "Bytes of payload sent by finished requests")
        self.exited = counter("children_exited", "Forked children that have exited, by how", "status")
        self.active = gauge("requests_active", "Requests that are being served")
        self.children = gauge("children", "Forked children that are alive")
        self.draining = gauge("draining", "1 while the server finishes what it has and takes no more")
        self.duration = Histogram(
            "plugport_request_duration_seconds",
            "Seconds from the beginning of a request to its end",
            _LABELS,
            registry=own,
            buckets=buckets,
        )
        #: What an endpoint collects from.
        self.registry = own
        if shared_folder() is not None:
            self.registry = CollectorRegistry()
            MultiProcessCollector(self.registry)  # type: ignore[no-untyped-call]
        elif process:
            own.register(_OfTheProcess())


class _OfTheProcess(Collector):
    """What is in prometheus_client's own registry, where handlers put their metrics."""

    def collect(self) -> Iterable[Metric]:
        """Yield all of it."""
        return REGISTRY.collect()


def make_metrics(buckets: tuple[float, ...], *, process: bool) -> Metrics:
    """Return metrics for a service of this process."""
    # Where processes share their metrics each has one value of a name, whichever service counts.
    return (_shared if shared_folder() is not None else Metrics)(buckets, process=process)


_shared = functools.cache(Metrics)


def shared_folder() -> str | None:
    """Return the folder in which several processes share their metrics; None if there is but this one."""
    return os.environ.get("PROMETHEUS_MULTIPROC_DIR")


def remove_the_dead(folder: str) -> None:
    """Forget the gauges of processes that are gone. What they have counted stays counted."""
    for path in glob.glob(os.path.join(glob.escape(folder), "gauge_live*.db")):
        found = re.fullmatch(r"gauge_live[a-z]*_(\d+)\.db", os.path.basename(path))
        if found and not _is_alive(int(found[1])):
            try:
                mark_process_dead(found[1], folder)  # type: ignore[no-untyped-call]
            except FileNotFoundError:
                pass  # another process has done it


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True
