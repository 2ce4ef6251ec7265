"""The bars of plugport-http: the measurements, their peers, and the cost allowed. Data only."""

from __future__ import annotations

import sys
from pathlib import Path

from bar import Bar, Peer
from http_load import HTTPLoad
from servers import Server

HERE = Path(__file__).parent
SITE = HERE / "site"
KILOBYTE = (SITE / "kilobyte.txt").read_text()


def plugport_http(handler: str, strategy: str, *options: str, note: str = "") -> Server:
    """Return ``plugport serve`` with a handler of plugport-http."""
    name = f"plugport {handler}, {strategy}{note and ', ' + note}"
    settings = [part for option in options for part in ("-o", option)]

    def command(host: str) -> list[str]:
        url = f"tcp://{host}:0"
        return [sys.executable, "-m", "plugport", "serve", handler, url, "-c", strategy, *settings]

    return Server(name, command, plugins=frozenset({"builtins", "http"}))


def peer(name: str, title: str) -> Server:
    """Return a peer of http_peers.py."""
    return Server(title, lambda host: [sys.executable, str(HERE / "http_peers.py"), name, host])


def hello_peer(name: str, *arguments: str) -> Server:
    """Return another server with hello.py; http_peers.py reports when it listens."""
    return Server(name, lambda host: [sys.executable, str(HERE / "http_peers.py"), name, host, *arguments])


HELLO = HTTPLoad("/", "Hello, world!")
ASGI = f"app={HERE / 'hello.py'}:asgi"
WSGI = f"app={HERE / 'hello.py'}:wsgi"
UVLOOP = "loop_factory=uvloop:new_event_loop"

FILE = HTTPLoad("/kilobyte.txt", KILOBYTE)
FILES = plugport_http("http-files", "select", f"root={SITE}")

BARS = (
    Bar(
        "files",
        "a file of 1 KiB, persistent connections",
        FILE,  # type: ignore[arg-type]
        FILES,
        (Peer(peer("nginx", "nginx"), 2.0), Peer(peer("http.server", "http.server"), 0.2)),
    ),
    Bar(
        "files-strategies",
        "the same under other strategies, and with the parser in Python",
        FILE,  # type: ignore[arg-type]
        FILES,
        (
            Peer(plugport_http("http-files", "select", f"root={SITE}", "parser=h11", note="h11")),
            Peer(plugport_http("http-files", "asyncio", f"root={SITE}")),
            Peer(plugport_http("http-files", "threading", f"root={SITE}")),
        ),
    ),
    Bar(
        "asgi",
        "an ASGI hello application, persistent connections",
        HELLO,  # type: ignore[arg-type]
        plugport_http("asgi", "asyncio", ASGI, UVLOOP, note="uvloop"),
        (Peer(hello_peer("uvicorn"), 0.7), Peer(plugport_http("asgi", "asyncio", ASGI))),
    ),
    Bar(
        "wsgi",
        "a WSGI hello application, persistent connections",
        HELLO,  # type: ignore[arg-type]
        # In a thread of a pool, like granian.
        plugport_http("wsgi", "thread-pool", WSGI),
        (
            Peer(hello_peer("granian"), 0.8),
            Peer(plugport_http("wsgi", "select", WSGI)),
            Peer(plugport_http("wsgi", "threading", WSGI)),
        ),
    ),
)
