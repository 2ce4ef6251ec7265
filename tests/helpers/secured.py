"""Handlers, clients and the table of styles and strategies for tests of the server tls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import ssl
import time
from socketserver import StreamRequestHandler
from typing import Any

import pytest
from certificates import authority
from patience import PATIENCE

STRATEGIES = ("sync", "threading", "thread-pool", "forking", "select", "asyncio")


class BlockingLines(StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


class ProtocolLines(asyncio.Protocol):
    _rest = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            self._transport.write(b"\n".join(lines).upper() + b"\n")

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()


class BufferedLines(asyncio.BufferedProtocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._buffer = bytearray(5000)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._transport.write(self._buffer[:nbytes].upper())

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()


class SlottedLines(asyncio.BufferedProtocol):
    """The same, which takes no attributes."""

    __slots__ = ("_buffer", "_transport")

    connection_made = BufferedLines.connection_made
    get_buffer = BufferedLines.get_buffer
    buffer_updated = BufferedLines.buffer_updated
    pause_writing = BufferedLines.pause_writing
    resume_writing = BufferedLines.resume_writing


async def async_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()


def capitals(message: bytes) -> bytes:
    return message.upper()


HANDLERS = {
    "blocking": BlockingLines,
    "protocol": ProtocolLines,
    "buffered": BufferedLines,
    "slotted": SlottedLines,
    "async": async_lines,
    "message": capitals,
}

CELLS = [
    (style, strategy)
    for style in HANDLERS
    for strategy in STRATEGIES
    if (style, strategy) != ("async", "select")
]


def connect(served: Any, **kwargs: Any) -> ssl.SSLSocket:
    return authority().connect(served.address, **kwargs)


def exchange(client: ssl.SSLSocket, data: bytes, pause: float = 0.0) -> bytes:
    """Send, and read as much as was sent; one thread, for OpenSSL wants it so."""
    client.setblocking(False)
    received, rest = bytearray(), memoryview(data)
    poll = select.poll()
    poll.register(client)
    while len(received) < len(data):
        poll.modify(client, select.POLLIN | (select.POLLOUT if rest else 0))
        assert poll.poll(PATIENCE * 1000), f"{len(received)} have come, {len(rest)} are to be sent"
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            rest = rest[client.send(rest) :] if rest else rest
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            piece = client.recv(16384)
            assert piece, "the connection ends before the answer"
            received += piece
        if pause and not rest:
            time.sleep(pause)
            pause = 0.0
    client.settimeout(PATIENCE)
    return bytes(received)


def outcomes(served: Any, count: int = 1) -> list[str]:
    served.wait_for_event("request_finished", count=count)
    return [event.arguments["context"].outcome for event in served.events if event.hook == "request_finished"]


BASIC_CELLS = [
    (handler, strategy)
    for handler in (BlockingLines, ProtocolLines, async_lines)
    for strategy in STRATEGIES
    if (handler, strategy) != (async_lines, "select")
]


def assert_one_line(caplog: pytest.LogCaptureFixture, strategy: str, said: str) -> None:
    """The log has lines of information, one of which says so, and no traceback."""
    for record in caplog.records:
        assert record.levelno <= logging.INFO or "forking while" in record.message, record.message
        assert not record.exc_info, record.exc_text
    if strategy != "forking":  # whose child has its own
        assert [record for record in caplog.records if said in record.message], caplog.text
