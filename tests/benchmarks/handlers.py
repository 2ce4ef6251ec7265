"""The handlers that are measured, each written once: plugport serves them, and so do its peers.

Where a peer has a style of its own (Twisted, trio, asyncio's streams), its handler is in peers.py, and
does the same work: what comes goes back.
"""

from __future__ import annotations

import asyncio
from socketserver import BaseRequestHandler
from typing import Any

CHUNK = 65536


def echo(connection: Any) -> None:
    """Send back what comes, until the client ends its side: with any socket that waits."""
    while data := connection.recv(CHUNK):
        connection.sendall(data)


class BlockingEcho(BaseRequestHandler):
    """A connection that stays."""

    def handle(self) -> None:
        echo(self.request)


class BlockingOnce(BaseRequestHandler):
    """A connection for one request."""

    def handle(self) -> None:
        self.request.sendall(self.request.recv(CHUNK))


class BlockingDatagram(BaseRequestHandler):
    """A datagram."""

    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data, self.client_address)


class ProtocolEcho(asyncio.Protocol):
    """A connection that stays."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class ProtocolOnce(asyncio.Protocol):
    """A connection for one request."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


class ProtocolDatagrams(asyncio.DatagramProtocol):
    """Datagrams."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


def line(message: bytes) -> bytes:
    """A line, which comes without its LF, and goes back with one."""
    return message


async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lines on a connection that stays, as asyncio's documentation has it."""
    while message := await reader.readline():
        writer.write(message)
        await writer.drain()
    writer.close()
