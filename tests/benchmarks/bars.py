"""The bars: what is measured, beside what, and the most that it may cost. Data only.

A measurement without a bar has no *at_most*. All are of processor time for a request, unless *metric*
says otherwise.
"""

from __future__ import annotations

from dataclasses import replace

from bar import MEMORY, P99, START, Bar, Peer
from loads import Load
from servers import counting, floor, peer, plugport

STAY = Load(connections=64)
ONCE = Load(mode="connect", connections=16)
DATAGRAMS = Load(mode="datagram", connections=64)
#: Every connection is asked once in the warm-up, so that it is one that is in use, and rests.
RESTING = Load(connections=5_000, requests=5_000, warm_up=1)
STEADY = Load(connections=1_000, rate=10_000)
ALONE = Load(connections=1)

SELECT = plugport("select", "ProtocolEcho", note="protocol")
SELECT_ONCE = plugport("select", "ProtocolOnce", note="protocol")
SELECT_BLOCKING = plugport("select", "BlockingEcho", note="blocking")
SELECT_LINES = plugport("select", "line", note="message")
ASYNC = plugport("asyncio", "stream", note="async")
UVLOOP_FACTORY = ("-o", "loop_factory=uvloop:new_event_loop")

FLOOR = floor("tcp")
PYTHON_FLOOR = peer("python-epoll", "Python epoll")
UVLOOP = peer("uvloop-protocol", "uvloop Protocol")
ASYNCIO = peer("asyncio-protocol", "asyncio Protocol")
STREAMS = peer("asyncio-streams", "asyncio streams")
GEVENT = peer("gevent", "gevent StreamServer")
THREADING = peer("socketserver-threading", "ThreadingTCPServer")

BARS = (
    Bar(
        "keepalive",
        "64 connections that stay, 100 bytes",
        STAY,
        SELECT,
        (
            Peer(FLOOR, 1.15),
            Peer(PYTHON_FLOOR),
            Peer(UVLOOP, 1.0),
            Peer(ASYNCIO),
            Peer(peer("twisted", "Twisted")),
            Peer(peer("trio", "trio")),
        ),
    ),
    Bar(
        "blocking",
        "64 connections that stay, a blocking handler",
        STAY,
        SELECT_BLOCKING,
        (Peer(GEVENT, 0.75),),
    ),
    Bar("lines", "64 connections that stay, lines", STAY, SELECT_LINES, (Peer(STREAMS, 0.8),)),
    Bar(
        "connections",
        "a connection for each request, 16 at once",
        ONCE,
        SELECT_ONCE,
        (
            Peer(floor("once"), 1.1),
            Peer(peer("python-epoll-once", "Python epoll")),
            Peer(THREADING, 0.2),
            Peer(peer("uvloop-once", "uvloop Protocol")),
        ),
    ),
    Bar(
        "pool",
        "a connection for each request, in a pool of threads",
        ONCE,
        plugport("thread-pool", "BlockingOnce", note="blocking"),
        (Peer(THREADING, 0.4),),
    ),
    Bar(
        "threading",
        "a connection for each request, a thread for each",
        ONCE,
        plugport("threading", "BlockingOnce", note="blocking"),
        (Peer(THREADING, 1.0),),
    ),
    Bar(
        "forking",
        "a connection for each request, a process for each",
        ONCE,
        plugport("forking", "BlockingOnce", note="blocking"),
        (
            Peer(peer("socketserver-forking", "ForkingTCPServer"), 1.0),
            Peer(peer("socketserver-forking-beside-plugport", "ForkingTCPServer beside plugport's modules")),
        ),
    ),
    Bar(
        "sync",
        "a connection for each request, one after the other",
        ONCE,
        plugport("sync", "BlockingOnce", note="blocking"),
        (Peer(peer("socketserver-sync", "TCPServer"), 1.0),),
    ),
    Bar(
        "uvloop",
        "64 connections that stay, on uvloop",
        STAY,
        plugport("asyncio", "ProtocolEcho", *UVLOOP_FACTORY, note="protocol, uvloop"),
        (Peer(UVLOOP, 1.02),),
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
            Peer(peer("python-epoll-udp", "Python epoll")),
        ),
    ),
    Bar(
        "udp-pool",
        "64 sockets, datagrams, a pool of threads",
        DATAGRAMS,
        plugport("thread-pool", "BlockingDatagram", scheme="udp", note="blocking"),
        (Peer(peer("socketserver-udp-threading", "ThreadingUDPServer"), 0.3),),
    ),
    # A service with the hooks that nobody implements, beside the composed class by itself, which knows of
    # no hooks: what `plugport serve` adds to a request. Where requests are many, connections are short.
    Bar(
        "hooks-unused",
        "a service with hooks that nobody implements",
        ONCE,
        SELECT_ONCE,
        (Peer(peer("plugport-bare", "plugport select, no service"), 1.02),),
    ),
    Bar(
        "hook-counting",
        "a hook that counts requests",
        ONCE,
        counting(SELECT_ONCE),
        (Peer(SELECT_ONCE, 1.15),),
    ),
    Bar(
        "idle-protocol",
        "5,000 connections at rest, a protocol",
        RESTING,
        SELECT,
        (Peer(ASYNCIO), Peer(UVLOOP)),
        MEMORY,
        4096,
    ),
    Bar(
        "idle-blocking",
        "5,000 connections at rest, a blocking handler",
        RESTING,
        SELECT_BLOCKING,
        (Peer(GEVENT),),
        MEMORY,
        16384,
    ),
    Bar(
        "idle-lines",
        "5,000 connections at rest, lines",
        RESTING,
        SELECT_LINES,
        (Peer(STREAMS), Peer(ASYNC)),
        MEMORY,
    ),
    Bar(
        "scale",
        "10,000 connections, beside 1,000 with as many requests in all",
        replace(STEADY, connections=10_000),
        replace(SELECT, name=f"{SELECT.name}, 10,000"),
        (Peer(replace(SELECT, name=f"{SELECT.name}, 1,000"), 1.25, STEADY),),
    ),
    Bar(
        "crowd",
        "64 connections that are active, among 10,000 that are not",
        replace(STAY, idle=10_000),
        SELECT,
        (Peer(replace(SELECT, name=f"{SELECT.name}, 64 alone"), load=STAY), Peer(FLOOR), Peer(UVLOOP)),
    ),
    Bar(
        "slow-senders",
        "one client's round trips, next to 5,000 that send a byte a second",
        replace(ALONE, drip=5_000),
        SELECT_LINES,
        (Peer(replace(SELECT_LINES, name=f"{SELECT_LINES.name}, alone"), load=ALONE), Peer(STREAMS)),
        P99,
    ),
    Bar(
        "pipelined",
        "64 connections that stay, 16 requests at once on each",
        replace(STAY, depth=16),
        SELECT,
        (Peer(FLOOR), Peer(UVLOOP), Peer(ASYNCIO)),
    ),
    Bar(
        "large",
        "16 connections that stay, 64 KiB",
        Load(connections=16, size=65536),
        SELECT,
        (Peer(FLOOR), Peer(UVLOOP), Peer(ASYNCIO)),
    ),
    Bar(
        "asyncio",
        "64 connections that stay, on asyncio",
        STAY,
        plugport("asyncio", "ProtocolEcho", note="protocol"),
        (Peer(ASYNCIO),),
    ),
    Bar(
        "streams",
        "64 connections that stay, lines, coroutines",
        STAY,
        ASYNC,
        (Peer(STREAMS),),
    ),
    Bar(
        "threads",
        "64 connections that stay, a thread for each",
        STAY,
        plugport("threading", "BlockingEcho", note="blocking"),
        (Peer(peer("socketserver-threading-keepalive", "ThreadingTCPServer")),),
    ),
    Bar(
        "start",
        "from the start of the process until it listens",
        replace(ALONE, requests=10),
        SELECT,
        (Peer(ASYNCIO), Peer(UVLOOP), Peer(THREADING, load=replace(ONCE, requests=10))),
        START,
    ),
)
