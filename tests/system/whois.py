"""Handlers that answer each line with who has sent it, in four styles; the reverse of what proxies hide."""

from __future__ import annotations

import asyncio
from socketserver import StreamRequestHandler
from typing import Any

from plugport.handlers.messages import MessageHandler


def answer(address: Any, line: bytes) -> bytes:
    """The address, and the line."""
    return f"{address!r} ".encode() + line.rstrip(b"\r\n") + b"\n"


class BlockingWho(StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(answer(self.client_address, line))


class ProtocolWho(asyncio.Protocol):
    _rest = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._transport.write(answer(self._transport.get_extra_info("peername"), line))


async def async_who(reader: Any, writer: Any) -> None:
    while line := await reader.readline():
        writer.write(answer(writer.get_extra_info("peername"), line))
    writer.close()


class MessageWho(MessageHandler):
    def respond(self, message: bytes) -> bytes:
        return answer(self.client_address, message).removesuffix(b"\n")


class WebWho(StreamRequestHandler):
    """One answer of HTTP, for clients that speak nothing else."""

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        body = answer(self.client_address, b"")
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
