"""The handlers of the cases: the same job, written in each of the four styles.

They answer lines. A line is sent back, but for these::

    +TEXT       is counted, and not answered
    !tally      is answered with the number and the CRC-32 of the bytes in the lines that were counted
    !send N     is answered with N bytes
    !close      ends the connection (no handler of messages can)
    !address    is answered with the client's address, as the handler sees it (a Python literal)
    !raise      raises Broken
    !block      waits until the case opens the gate, and heeds nothing meanwhile

Datagrams are sent back, but for one that begins with + or !, of these.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from plugport.handlers import AsyncRequestHandler, BaseRequestHandler, MessageHandler, StreamRequestHandler

__all__ = ["BLOCK", "Broken", "Gate", "Progress", "datagram_handler", "stream_handler"]

#: The pieces in which a long answer is made, and what they are made of.
BLOCK = b"0123456789abcdef" * 1024


class Broken(Exception):
    """What a handler raises when it is told to."""


class Progress:
    """Counts the bytes of long answers that handlers have made, in whatever process."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    @property
    def made(self) -> int:
        """Bytes up to now."""
        return int.from_bytes(self._memory[:], "big")

    def add(self, count: int) -> None:
        """Count *count* bytes more. One handler at a time does."""
        self._memory[:] = (self.made + count).to_bytes(8, "big")


class Gate:
    """What a blocked handler waits for, in whatever process."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def wait(self) -> None:
        """Block this thread until the gate is open."""
        os.read(self._reader, 1)

    def open(self, count: int = 1) -> None:
        """Let so many pass."""
        os.write(self._writer, bytes(count))

    def close(self) -> None:
        """Release the descriptors."""
        os.close(self._reader)
        os.close(self._writer)


class _Closes(Exception):
    """The handler is to end the connection."""


class _Job:
    """What a handler does, in whatever style. A case's handler is a subclass with these set."""

    #: The phase that fails: "begin" or "end".
    fails_in = ""
    progress: Progress
    gate: Gate

    def begin(self) -> None:
        """The connection has been made."""
        self._count = self._crc = 0
        if self.fails_in == "begin":
            raise Broken("at the beginning")

    def end(self) -> None:
        """The connection ends."""
        if self.fails_in == "end":
            raise Broken("at the end")

    def address(self) -> Any:
        """The client's address."""
        raise NotImplementedError

    def answers(self, line: bytes) -> Iterator[bytes]:
        """The pieces of the answer to *line*, which comes without its end."""
        if line.startswith(b"+"):
            self._count += len(line)
            self._crc = zlib.crc32(line, self._crc)
        elif line.startswith(b"!send "):
            yield from self._long_answer(int(line[6:]))
        elif line.startswith(b"!"):
            yield self._obey(line)
        else:
            yield line + b"\n"

    def _obey(self, order: bytes) -> bytes:
        if order == b"!address":
            return b"%r\n" % self.address()
        if order == b"!tally":
            return b"%d %d\n" % (self._count, self._crc)
        if order == b"!close":
            raise _Closes
        if order == b"!block":
            self.gate.wait()
            return b"unblocked\n"
        raise Broken("by order")

    def _long_answer(self, size: int) -> Iterator[bytes]:
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

    def address(self) -> Any:
        return self.client_address

    def handle(self) -> None:
        try:
            for line in self.rfile:
                for piece in self.answers(line.removesuffix(b"\n")):
                    self.wfile.write(piece)
        except _Closes:
            pass

    def finish(self) -> None:
        super().finish()
        self.end()


class _Protocol(_Job, asyncio.Protocol):
    """Makes no more of an answer, and reads no more, while what it has written waits to be sent."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._buffer = b""
        self._lines: deque[bytes] = deque()
        self._answer: Iterator[bytes] = iter(())
        self._paused = self._ended = False
        self.begin()

    def address(self) -> Any:
        return self._transport.get_extra_info("peername")

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._lines += lines
        self._go_on()

    def eof_received(self) -> bool:
        self._ended = True
        if self._buffer:
            self._lines.append(self._buffer)
        self._go_on()
        return True

    def pause_writing(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        self._transport.resume_reading()
        self._go_on()

    def _go_on(self) -> None:
        try:
            while not self._paused:
                piece = next(self._answer, None)
                if piece is not None:
                    self._transport.write(piece)
                elif self._lines:
                    self._answer = self.answers(self._lines.popleft())
                else:
                    break
        except _Closes:
            self._transport.close()
        if self._ended and not self._paused:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.end()


class _Async(_Job, AsyncRequestHandler):
    def address(self) -> Any:
        peername = self._writer.get_extra_info("peername")
        return peername if peername == self.client_address else (peername, self.client_address)

    async def handle(self, reader: Any, writer: Any) -> None:
        self._writer = writer
        self.begin()
        try:
            while line := await reader.readline():
                for piece in self.answers(line.removesuffix(b"\n")):
                    writer.write(piece)
                    await writer.drain()
        except _Closes:
            pass
        finally:
            self.end()


class _Message(_Job, MessageHandler):
    def __init__(self, client_address: Any, server: Any) -> None:
        super().__init__(client_address, server)
        self.begin()

    def address(self) -> Any:
        return self.client_address

    def respond(self, message: bytes) -> bytes | None:
        answer = b"".join(self.answers(message))
        return answer.removesuffix(b"\n") if answer else None


_STREAM: dict[str, type] = {
    "blocking": _Blocking,
    "protocol": _Protocol,
    "async": _Async,
    "message": _Message,
}


def stream_handler(style: str, **members: Any) -> type:
    """Return the handler of connections in that style, with these class attributes."""
    base = _STREAM[style]
    return type(base.__name__.strip("_"), (base,), {"__module__": __name__, **members})


# Datagrams ------------------------------------------------------------------------------------


def _answer(message: bytes) -> bytes | None:
    if message == b"!raise":
        raise Broken("by order")
    return None if message.startswith(b"+") else message


class _BlockingDatagrams(BaseRequestHandler):
    def handle(self) -> None:
        message, sock = self.request
        answer = _answer(message)
        if answer is not None:
            sock.sendto(answer, self.client_address)


class _DatagramProtocol(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        answer = _answer(data)
        if answer is not None:
            self._transport.sendto(answer, addr)


async def _answer_datagram(message: bytes, reply: Callable[[bytes], None]) -> None:
    answer = _answer(message)
    if answer is not None:
        reply(answer)


_DATAGRAM: dict[str, Callable[..., Any]] = {
    "blocking": _BlockingDatagrams,
    "protocol": _DatagramProtocol,
    "async": _answer_datagram,
    "message": _answer,
}


def datagram_handler(style: str) -> Callable[..., Any]:
    """Return the handler of datagrams in that style."""
    return _DATAGRAM[style]
