"""The plugin of the built-ins: their names, and where they are. Imports none of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from plugport import Component, hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugport.contracts import Hints

__all__ = [
    "plugport_register_concurrency",
    "plugport_register_framings",
    "plugport_register_handlers",
    "plugport_register_hints",
    "plugport_register_servers",
]

_SERVERS = "plugport_builtins.servers"
_CONCURRENCY = "plugport_builtins.concurrency"
_HANDLERS = "plugport_builtins.handlers"


@hookimpl
def plugport_register_servers() -> Iterator[Component]:
    """The four servers of socketserver, and those that came after them."""
    # Not asked of the module socket, which takes its time to import: listing is to be quick.
    no_unix = "" if os.name == "posix" else "this platform has no unix sockets"
    yield Component("tcp", f"{_SERVERS}.tcp:TCPServer", "Connections over IPv4 and IPv6")
    yield Component("tls", f"{_SERVERS}.tls:TLSServer", "Connections over TLS")
    yield Component("udp", f"{_SERVERS}.udp:UDPServer", "Datagrams over IPv4 and IPv6")
    yield Component(
        "unix", f"{_SERVERS}.unix:UnixStreamServer", "Connections over a unix socket", unavailable=no_unix
    )
    yield Component(
        "unixgram", f"{_SERVERS}.unix:UnixDatagramServer", "Datagrams over a unix socket", unavailable=no_unix
    )
    no_fd = "" if os.name == "posix" else "this platform hands over no sockets"
    yield Component("fd", f"{_SERVERS}.fd:FdServer", "Connections on a handed-over socket", unavailable=no_fd)
    yield Component(
        "fdgram", f"{_SERVERS}.fd:FdgramServer", "Datagrams on a handed-over socket", unavailable=no_fd
    )


@hookimpl
def plugport_register_concurrency() -> Iterator[Component]:
    """The strategies of socketserver, and those that came after it."""
    no_fork = "" if hasattr(os, "fork") else "this platform has no os.fork"
    yield Component("sync", f"{_CONCURRENCY}.sync:SyncMixIn", "One request after the other")
    yield Component("threading", f"{_CONCURRENCY}.threading:ThreadingMixIn", "A thread for each request")
    yield Component(
        "forking",
        f"{_CONCURRENCY}.forking:ForkingMixIn",
        "A forked child process for each request",
        unavailable=no_fork,
    )
    yield Component(
        "thread-pool",
        f"{_CONCURRENCY}.thread_pool:ThreadPoolMixIn",
        "A bounded number of threads that are kept",
    )
    yield Component("select", f"{_CONCURRENCY}.select:SelectMixIn", "One thread, a table of partial requests")
    yield Component("asyncio", f"{_CONCURRENCY}.asyncio:AsyncioMixIn", "An asyncio event loop")


@hookimpl
def plugport_register_handlers() -> Iterator[Component]:
    """The small services of the RFCs, and a few that show what handlers can do."""
    for name, attribute, summary in (
        ("echo", "EchoHandler", "Send back what comes (RFC 862)"),
        ("discard", "DiscardHandler", "Read and throw away (RFC 863)"),
        ("daytime", "DaytimeHandler", "Tell the date and time as text (RFC 867)"),
        ("time", "TimeHandler", "Tell the time as a 32-bit number of seconds since 1900 (RFC 868)"),
        ("chargen", "ChargenHandler", "Send lines of characters without end (RFC 864)"),
        ("qotd", "QotdHandler", "Send a quotation (RFC 865)"),
        ("exec", "ExecHandler", "Run a program for each connection, as inetd does"),
        ("counter", "CounterHandler", "Count the requests, in memory that all of them share"),
        ("checksum", "ChecksumHandler", "Answer with the SHA-256 of what is sent"),
    ):
        yield Component(name, f"{_HANDLERS}.{name}:{attribute}", summary)


@hookimpl
def plugport_register_framings() -> Iterator[Component]:
    """The framings that a message handler finds without a registry, too."""
    for name, attribute, summary in (
        ("lines", "LinesFraming", "Lines that end with LF or CRLF"),
        ("length-prefixed", "LengthPrefixedFraming", "A big-endian length before each message"),
        ("netstring", "NetstringFraming", "Netstrings: 5:hello,"),
        ("delimiter", "DelimiterFraming", "Messages that end with a delimiter of any bytes"),
        ("fixed", "FixedFraming", "Messages of one fixed length"),
    ):
        yield Component(name, f"plugport.handlers:{attribute}", summary)


@hookimpl
def plugport_register_hints() -> Hints:
    """The hints about the distributions of plugport's own contrib."""
    from plugport_builtins.hints import HINTS  # late: only an error needs them

    return HINTS
