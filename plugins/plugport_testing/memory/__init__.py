"""Handlers without sockets: a connection or a datagram endpoint in memory, whose client is the test.

Protocols, message handlers and blocking handlers run on it behind the bridge, framing and transport of the
select strategy, so they behave as they do there. Nothing runs in the background: each action of the client is
a call, which returns when the handler has done all that it can.
"""

from plugport_testing.memory.connection import MemoryConnection, MemoryTransport
from plugport_testing.memory.endpoint import MemoryEndpoint, connect
from plugport_testing.memory.server import MemoryServer

__all__ = ["MemoryConnection", "MemoryEndpoint", "MemoryServer", "MemoryTransport", "connect"]
