"""The handlers of the cases: the same work, written in each of the four styles.

They reply to lines. A line is sent back, except for these::

    +TEXT       is counted, without a reply
    !tally      replies with the number and the CRC-32 of the bytes in the counted lines
    !send N     replies with N bytes
    !close      ends the connection (not in a message handler)
    !address    replies with the client's address as the handler sees it, a Python literal
    !raise      raises RequestedError
    !block      blocks until the case opens the gate

A datagram is sent back, unless it begins with + or is !raise.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import cast

from plugport.contracts import ClientAddress, Handler, Server
from plugport.handlers import AsyncRequestHandler, BaseRequestHandler, MessageHandler, StreamRequestHandler

__all__ = ["BLOCK", "Gate", "Progress", "RequestedError", "datagram_handler", "stream_handler"]

#: The longest piece of a long reply; the reply repeats it.
BLOCK = b"0123456789abcdef" * 1024


class RequestedError(Exception):
    """An error that a handler raises because the case asked for it."""


class Progress:
    """Counts the bytes of long replies that handlers have produced, in any process."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    @property
    def made(self) -> int:
        """Bytes produced so far."""
        return int.from_bytes(self._memory[:], "big")

    def add(self, count: int) -> None:
        """Add *count* bytes. Only one handler at a time may call it."""
        self._memory[:] = (self.made + count).to_bytes(8, "big")


class Gate:
    """Blocks handlers, in any process, until the case opens it."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def wait(self) -> None:
        """Block this thread until the gate is open."""
        os.read(self._reader, 1)

    def open(self, count: int = 1) -> None:
        """Release *count* blocked handlers."""
        os.write(self._writer, bytes(count))

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._reader)
        os.close(self._writer)


class _CloseRequested(Exception):
    """Raised by a line that asks the handler to end the connection."""


class _Job:
    """The work of a handler, for all styles. A case sets these attributes in a subclass."""

    #: The phase that fails: "begin", "end" or none.
    fails_in = ""
    progress: Progress
    gate: Gate

    def begin(self) -> None:
        """Begin the work; called when the connection is made."""
        self._count = self._crc = 0
        if self.fails_in == "begin":
            raise RequestedError("at the beginning")

    def end(self) -> None:
        """End the work; called when the connection ends."""
        if self.fails_in == "end":
            raise RequestedError("at the end")

    def address(self) -> object:
        """Return the client's address."""
        raise NotImplementedError

    def replies_to(self, line: bytes) -> Iterator[bytes]:
        """Yield the pieces of the reply to *line*, which comes without its end."""
        if line.startswith(b"+"):
            self._count += len(line)
            self._crc = zlib.crc32(line, self._crc)
        elif line.startswith(b"!send "):
            yield from self._long_reply(int(line[6:]))
        elif line.startswith(b"!"):
            yield self._reply_to_command(line)
        else:
            yield line + b"\n"

    def _reply_to_command(self, command: bytes) -> bytes:
        if command == b"!address":
            return b"%r\n" % (self.address(),)
        if command == b"!tally":
            return b"%d %d\n" % (self._count, self._crc)
        if command == b"!close":
            raise _CloseRequested
        if command == b"!block":
            self.gate.wait()
            return b"unblocked\n"
        raise RequestedError("on request")

    def _long_reply(self, size: int) -> Iterator[bytes]:
        while size > 0:
            piece = BLOCK[:size]
            size -= len(piece)
            self.progress.add(len(piece))
            yield piece
        yield b"\n"


class _Blocking(_Job, StreamRequestHandler):
    def setup(self) -> None:
        self.begin()
        super().setup()

    def address(self) -> object:
        return self.client_address

    def handle(self) -> None:
        try:
            for line in self.rfile:
                for piece in self.replies_to(line.removesuffix(b"\n")):
                    self.wfile.write(piece)
        except _CloseRequested:
            pass

    def finish(self) -> None:
        super().finish()
        self.end()


class _Protocol(_Job, asyncio.Protocol):
    """Stops producing and reading while written data waits to be sent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""
        self._lines: deque[bytes] = deque()
        self._reply: Iterator[bytes] = iter(())
        self._paused = self._ended = False
        self.begin()

    def address(self) -> object:
        return self._transport.get_extra_info("peername")

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._lines += lines
        self._continue()

    def eof_received(self) -> bool:
        self._ended = True
        if self._buffer:
            self._lines.append(self._buffer)
        self._continue()
        return True

    def pause_writing(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        self._transport.resume_reading()
        self._continue()

    def _continue(self) -> None:
        try:
            while not self._paused:
                piece = next(self._reply, None)
                if piece is not None:
                    self._transport.write(piece)
                elif self._lines:
                    self._reply = self.replies_to(self._lines.popleft())
                else:
                    break
        except _CloseRequested:
            self._transport.close()
        if self._ended and not self._paused:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.end()


class _Async(_Job, AsyncRequestHandler):
    def address(self) -> object:
        peername = self._writer.get_extra_info("peername")
        return peername if peername == self.client_address else (peername, self.client_address)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.begin()
        try:
            while line := await reader.readline():
                for piece in self.replies_to(line.removesuffix(b"\n")):
                    writer.write(piece)
                    await writer.drain()
        except _CloseRequested:
            pass
        finally:
            self.end()


class _Message(_Job, MessageHandler):
    def __init__(self, client_address: ClientAddress, server: Server) -> None:
        super().__init__(client_address, server)
        self.begin()

    def address(self) -> object:
        return self.client_address

    def respond(self, message: bytes) -> bytes | None:
        reply = b"".join(self.replies_to(message))
        return reply.removesuffix(b"\n") if reply else None


_STREAM: dict[str, type] = {
    "blocking": _Blocking,
    "protocol": _Protocol,
    "async": _Async,
    "message": _Message,
}


def stream_handler(style: str, **attributes: object) -> type:
    """Return the handler of connections in that style, with these class attributes."""
    base = _STREAM[style]
    return type(base.__name__.strip("_"), (base,), {"__module__": __name__, **attributes})


# Datagrams ------------------------------------------------------------------------------------


def _reply_to(message: bytes) -> bytes | None:
    if message == b"!raise":
        raise RequestedError("on request")
    return None if message.startswith(b"+") else message


class _BlockingDatagrams(BaseRequestHandler):
    def handle(self) -> None:
        message, sock = self.request
        reply = _reply_to(message)
        if reply is not None:
            sock.sendto(reply, self.client_address)


class _DatagramProtocol(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: ClientAddress) -> None:
        reply = _reply_to(data)
        if reply is not None:
            self._transport.sendto(reply, addr)


async def _reply_to_datagram(message: bytes, reply: Callable[[bytes], None]) -> None:
    answer = _reply_to(message)
    if answer is not None:
        reply(answer)


_DATAGRAM: dict[str, Handler] = {
    "blocking": _BlockingDatagrams,
    "protocol": _DatagramProtocol,
    "async": _reply_to_datagram,
    "message": _reply_to,
}


def datagram_handler(style: str) -> Handler:
    """Return the handler of datagrams in that style."""
    return _DATAGRAM[style]
