"""Transports of connections and datagram sockets, with the interface of asyncio's, on any Loop.

They drive asyncio.Protocol, BufferedProtocol and DatagramProtocol without asyncio: the select
strategy in its table, the pump on a loop that serves a single connection.
"""

from plugport.transports.base import BaseTransport, Owner
from plugport.transports.datagrams import DatagramTransport, send_datagram
from plugport.transports.foreign import override_methods, with_attributes, with_peername
from plugport.transports.stream import StreamTransport
from plugport.transports.timing import TimerHandle, call_later, clock_of

__all__ = [
    "BaseTransport",
    "DatagramTransport",
    "Owner",
    "StreamTransport",
    "TimerHandle",
    "call_later",
    "clock_of",
    "override_methods",
    "send_datagram",
    "with_attributes",
    "with_peername",
]
