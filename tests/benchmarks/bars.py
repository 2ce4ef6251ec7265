"""The bars: what is measured, beside what, and how much it may cost. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from loads import Load
from servers import Server, floor, peer, plugport


@dataclass(frozen=True)
class Peer:
    """What a server is measured beside: *at_most* is the bar, the most that ours may cost, as a ratio."""

    server: Server
    at_most: float | None = None
    load: Load | None = None  # the bar's


@dataclass(frozen=True)
class Bar:
    """One measurement: of our server, beside its peers, under one load.

    *metric* is the attribute of Figures that is compared; *at_most* is a bar for the figure itself.
    """

    name: str
    title: str
    load: Load
    ours: Server
    peers: tuple[Peer, ...] = ()
    metric: str = "cpu_us"
    at_most: float | None = None


KEEP_ALIVE = Load(connections=64)
CONNECT = Load(mode="connect", connections=16)
DATAGRAMS = Load(mode="datagram", connections=64)

SELECT = plugport("select", "ProtocolEcho", note="protocol")
UVLOOP = plugport(
    "asyncio", "ProtocolEcho", "-o", "loop_factory=uvloop:new_event_loop", note="uvloop, protocol"
)

BARS = (
    Bar(
        "keepalive",
        "64 connections that stay, 100 bytes",
        KEEP_ALIVE,
        SELECT,
        (
            Peer(floor("tcp"), 1.15),
            Peer(peer("uvloop-protocol", "uvloop Protocol"), 1.0),
            Peer(peer("asyncio-protocol", "asyncio Protocol")),
            Peer(peer("twisted", "Twisted")),
            Peer(peer("trio", "trio")),
        ),
    ),
    Bar(
        "blocking",
        "the same, a blocking handler",
        KEEP_ALIVE,
        plugport("select", "BlockingEcho", note="blocking"),
        (Peer(peer("gevent", "gevent StreamServer"), 0.75),),
    ),
    Bar(
        "lines",
        "64 connections that stay, lines of 100 bytes",
        KEEP_ALIVE,
        plugport("select", "line", note="message"),
        (Peer(peer("asyncio-streams", "asyncio streams"), 0.8),),
    ),
    Bar(
        "uvloop",
        "64 connections that stay, 100 bytes",
        KEEP_ALIVE,
        UVLOOP,
        (Peer(peer("uvloop-protocol", "uvloop Protocol"), 1.02),),
    ),
    Bar(
        "connections",
        "a connection for each request, 16 at once",
        CONNECT,
        plugport("select", "ProtocolOnce", note="protocol"),
        (
            Peer(floor("once"), 1.1),
            Peer(peer("socketserver-threading", "ThreadingTCPServer"), 0.2),
            Peer(peer("uvloop-once", "uvloop Protocol")),
        ),
    ),
    Bar(
        "pool",
        "a connection for each request, 16 at once",
        CONNECT,
        plugport("thread-pool", "BlockingOnce", note="blocking"),
        (Peer(peer("socketserver-threading", "ThreadingTCPServer"), 0.4),),
    ),
    Bar(
        "threading",
        "a connection for each request, 16 at once",
        CONNECT,
        plugport("threading", "BlockingOnce", note="blocking"),
        (Peer(peer("socketserver-threading", "ThreadingTCPServer"), 1.0),),
    ),
    Bar(
        "forking",
        "a connection for each request, 16 at once",
        CONNECT,
        plugport("forking", "BlockingOnce", note="blocking"),
        (Peer(peer("socketserver-forking", "ForkingTCPServer"), 1.0),),
    ),
    Bar(
        "sync",
        "a connection for each request, 16 at once",
        CONNECT,
        plugport("sync", "BlockingOnce", note="blocking"),
        (Peer(peer("socketserver-sync", "TCPServer"), 1.0),),
    ),
    Bar(
        "udp",
        "64 sockets, datagrams of 100 bytes",
        DATAGRAMS,
        plugport("select", "ProtocolDatagrams", scheme="udp", note="protocol"),
        (
            Peer(peer("uvloop-udp", "uvloop DatagramProtocol"), 1.0),
            Peer(peer("socketserver-udp", "UDPServer"), 0.65),
            Peer(peer("asyncio-udp", "asyncio DatagramProtocol")),
            Peer(floor("udp")),
        ),
    ),
    Bar(
        "udp-pool",
        "64 sockets, datagrams of 100 bytes",
        DATAGRAMS,
        plugport("thread-pool", "BlockingDatagram", scheme="udp", note="blocking"),
        (Peer(peer("socketserver-udp-threading", "ThreadingUDPServer"), 0.3),),
    ),
)
