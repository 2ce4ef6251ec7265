"""A drop-in for the standard library's socketserver: every public name, the same semantics, defects mended.

Used alone it loads no plugins and fires no hooks. What differs is listed in docs/reference/drop-in.md.
"""

from __future__ import annotations

import os
import socket

from plugport.handlers import BaseRequestHandler, DatagramRequestHandler, SocketWriter, StreamRequestHandler
from plugport.serving import BaseServer
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer

__all__ = [
    "BaseRequestHandler",
    "BaseServer",
    "DatagramRequestHandler",
    "StreamRequestHandler",
    "TCPServer",
    "ThreadingMixIn",
    "ThreadingTCPServer",
    "ThreadingUDPServer",
    "UDPServer",
]

_SocketWriter = SocketWriter  # the name that others know it by


class ThreadingUDPServer(ThreadingMixIn, UDPServer):
    """A UDP server with a thread for each datagram."""


class ThreadingTCPServer(ThreadingMixIn, TCPServer):
    """A TCP server with a thread for each connection."""


if hasattr(os, "fork"):
    from plugport_builtins.concurrency.forking import ForkingMixIn

    __all__ += ["ForkingMixIn", "ForkingTCPServer", "ForkingUDPServer"]

    class ForkingUDPServer(ForkingMixIn, UDPServer):
        """A UDP server with a child process for each datagram."""

    class ForkingTCPServer(ForkingMixIn, TCPServer):
        """A TCP server with a child process for each connection."""


if hasattr(socket, "AF_UNIX"):
    from plugport_builtins.servers.unix import UnixDatagramServer, UnixStreamServer

    __all__ += [
        "ThreadingUnixDatagramServer",
        "ThreadingUnixStreamServer",
        "UnixDatagramServer",
        "UnixStreamServer",
    ]

    class ThreadingUnixStreamServer(ThreadingMixIn, UnixStreamServer):
        """A unix stream server with a thread for each connection."""

    class ThreadingUnixDatagramServer(ThreadingMixIn, UnixDatagramServer):
        """A unix datagram server with a thread for each datagram."""

    if hasattr(os, "fork"):
        __all__ += ["ForkingUnixDatagramServer", "ForkingUnixStreamServer"]

        class ForkingUnixStreamServer(ForkingMixIn, UnixStreamServer):
            """A unix stream server with a child process for each connection."""

        class ForkingUnixDatagramServer(ForkingMixIn, UnixDatagramServer):
            """A unix datagram server with a child process for each datagram."""
