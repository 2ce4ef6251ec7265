"""Transports of connections and datagram sockets, with the interface of asyncio's, on any TransportLoop.

They drive asyncio.Protocol, BufferedProtocol and DatagramProtocol without asyncio: the select
strategy in its table, a pump on a loop that serves a single connection.
"""

from plugport.transports.base import BaseTransport, TransportOwner
from plugport.transports.datagrams import DatagramTransport, send_datagram
from plugport.transports.stream import StreamTransport
from plugport.transports.timing import call_later, clock_of

__all__ = [
    "BaseTransport",
    "DatagramTransport",
    "StreamTransport",
    "TransportOwner",
    "call_later",
    "clock_of",
    "send_datagram",
]
