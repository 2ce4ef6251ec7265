"""Handlers without sockets: a connection or a datagram endpoint that is only memory, driven by the test.

Protocols, message handlers and blocking handlers run on it as they run under the select strategy:
behind the same bridge, framing and transport. Nothing runs by itself: what a client does is a call, and
when it returns the handler has done what it could do about it.
"""

from plugport_testing.memory.connection import MemoryConnection, MemoryTransport
from plugport_testing.memory.endpoint import MemoryEndpoint, connect
from plugport_testing.memory.server import MemoryServer

__all__ = ["MemoryConnection", "MemoryEndpoint", "MemoryServer", "MemoryTransport", "connect"]
