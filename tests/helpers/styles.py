"""One job in four styles, served by path: lines in, capitals out; and the same for datagrams.

A line ``fail`` is one that the job fails on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from socketserver import BaseRequestHandler, StreamRequestHandler
from typing import Any


def capitals(message: bytes) -> bytes:
    """The job; and, as it is, the handler of the style message, of both kinds."""
    if message == b"fail":
        raise ValueError("there are no capitals of this")
    return message.upper()


def answer(line: bytes) -> bytes:
    """The line that answers *line*."""
    return capitals(line.rstrip(b"\r\n")) + b"\n"


# Connections ----------------------------------------------------------------------------------


class BlockingLines(StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(answer(line))


class ProtocolLines(asyncio.Protocol):
    _rest = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._transport.write(answer(line))

    def eof_received(self) -> None:
        if self._rest:
            self._transport.write(answer(self._rest))

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()


async def async_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(answer(line))
        await writer.drain()


# Datagrams ------------------------------------------------------------------------------------


class BlockingDatagrams(BaseRequestHandler):
    def handle(self) -> None:
        message, sock = self.request
        sock.sendto(capitals(message), self.client_address)


class ProtocolDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(capitals(data), addr)


async def async_datagrams(message: bytes, reply: Callable[[bytes], None]) -> None:
    reply(capitals(message))
