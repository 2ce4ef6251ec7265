"""What a bar is: a server of ours under a load, and what it is measured beside. They are in bars.py."""

from __future__ import annotations

from dataclasses import dataclass

from loads import Load
from servers import Server


@dataclass(frozen=True)
class Metric:
    """What is compared: an attribute of Figures, in words, and how it is printed."""

    name: str
    title: str
    form: str


CPU = Metric("cpu_us", "processor time for a request, µs", "{:.2f} µs")
START = Metric("start_ms", "from exec until it listens, ms", "{:.0f} ms")
P99 = Metric("p99", "99th percentile of the time to an answer, µs", "{:.0f} µs")
MEMORY = Metric("bytes_used", "memory of a connection after a round trip, bytes", "{:.0f} B")


@dataclass(frozen=True)
class Peer:
    """What ours is measured beside; *at_most* is the bar: the most that ours may be, as a ratio to it."""

    server: Server
    at_most: float | None = None
    #: Where it is not that of the bar.
    load: Load | None = None


@dataclass(frozen=True)
class Bar:
    """One measurement: our server and its peers. *at_most* is a bar for our figure itself."""

    name: str
    title: str
    load: Load
    ours: Server
    peers: tuple[Peer, ...] = ()
    metric: Metric = CPU
    at_most: float | None = None

    def subjects(self) -> list[tuple[Server, Load]]:
        """Each server that is measured, ours first, and its load."""
        return [(self.ours, self.load), *((peer.server, peer.load or self.load) for peer in self.peers)]
