"""Framings: how messages stand in a stream of bytes. Sans-IO: bytes in, messages out.

A framing is made for one connection. ``feed()`` takes bytes as they come and returns the messages
that they complete; ``finish()`` is called at the end of the stream; ``frame()`` wraps a reply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from plugport.errors import PlugportError

__all__ = [
    "FRAMINGS",
    "DelimiterFraming",
    "FixedFraming",
    "Framing",
    "FramingError",
    "LengthPrefixedFraming",
    "LinesFraming",
    "NetstringFraming",
]


class FramingError(PlugportError):
    """The bytes break the rules of the framing, or a message is longer than is allowed."""


class Framing(Protocol):
    """What every framing does; see the module."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take *data*, return the messages complete by now. Raises FramingError."""

    def finish(self) -> list[bytes]:
        """Take the end of the stream, return what is left to return. Raises FramingError."""

    def frame(self, message: bytes) -> bytes:
        """Wrap *message*. Raises FramingError if the framing can't carry it."""


class DelimiterFraming:
    """Messages end with *delimiter*; a last one may lack it. *max_size*: bytes of a message."""

    def __init__(self, max_size: int, delimiter: bytes) -> None:
        if not delimiter:
            raise ValueError("the delimiter is empty")
        self._max_size = max_size
        self._delimiter = delimiter
        self._parts: list[bytes] = []
        self._size = 0  # of the parts: bytes that came after the last delimiter
        self._tail = b""  # the end of the parts, in which a delimiter may have begun

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages whose delimiter has come."""
        delimiter = self._delimiter
        overlap = len(delimiter) - 1
        if delimiter not in self._tail + data:
            self._parts.append(data)
            self._size += len(data)
            if overlap:
                self._tail = (self._tail + data)[-overlap:]
            # A delimiter that has begun is no part of the message.
            self._check(self._size - overlap)
            return []
        if self._parts:
            data = b"".join((*self._parts, data))
        messages = data.split(delimiter)
        rest = messages.pop()
        self._parts = [rest] if rest else []
        self._size = len(rest)
        self._tail = rest[-overlap:] if overlap else b""
        for message in messages:
            self._check(len(message))
        self._check(self._size - overlap)
        return messages

    def finish(self) -> list[bytes]:
        """Return the last message, which nothing ended, if there is one."""
        rest, self._parts, self._size = b"".join(self._parts), [], 0
        self._check(len(rest))
        return [rest] if rest else []

    def frame(self, message: bytes) -> bytes:
        """Put the delimiter after *message*, which must not hold it."""
        if self._delimiter in message:
            raise FramingError(f"a message can't hold the delimiter {self._delimiter!r}")
        return message + self._delimiter

    def _check(self, size: int) -> None:
        if size > self._max_size:
            raise FramingError(f"a message is longer than {self._max_size} bytes")


class LinesFraming(DelimiterFraming):
    """Lines that end with LF or CRLF; replies end with LF. A last line may lack its end."""

    def __init__(self, max_size: int) -> None:
        # A CR more, which is no part of the line.
        super().__init__(max_size + 1, b"\n")
        self._max_line = max_size

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that have ended, without their ends."""
        size = data.find(b"\n")
        if 0 <= size <= self._max_line and size == len(data) - 1 and not self._parts:
            # One whole line, as most clients send them.
            return [data[:-2] if data.endswith(b"\r\n") else data[:-1]]
        lines = super().feed(data)
        return [self._strip(line) for line in lines]

    def finish(self) -> list[bytes]:
        """Return the last line, which nothing ended, if there is one."""
        return [self._strip(line) for line in super().finish()]

    def _check(self, size: int) -> None:
        if size > self._max_line + 1:
            raise FramingError(f"a line is longer than {self._max_line} bytes")

    def _strip(self, line: bytes) -> bytes:
        if line.endswith(b"\r"):
            return line[:-1]
        if len(line) > self._max_line:
            raise FramingError(f"a line is longer than {self._max_line} bytes")
        return line

    def frame(self, message: bytes) -> bytes:
        """Put LF after *message*, which must be a single line."""
        if b"\n" in message:
            raise FramingError("a line can't hold LF")
        return message + b"\n"


class _Buffered:
    """What framings that count their bytes have in common."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are whole."""
        buffer = self._buffer
        buffer += data
        messages = []
        start = 0
        while (found := self._next(start)) is not None:
            begin, end, start = found
            messages.append(bytes(buffer[begin:end]))
        if start:
            del buffer[:start]
        return messages

    def _next(self, start: int) -> tuple[int, int, int] | None:
        """Where the message from *start* on begins and ends, and the next one starts; None: not here yet."""
        raise NotImplementedError

    def finish(self) -> list[bytes]:
        """Return no message: one that is not whole is an error."""
        if self._buffer:
            raise FramingError(f"the stream ended inside a message, after {len(self._buffer)} bytes of it")
        return []

    def _check(self, size: int) -> None:
        if size > self._max_size:
            raise FramingError(f"a message of {size} bytes is longer than {self._max_size} bytes")


class LengthPrefixedFraming(_Buffered):
    """Each message comes behind its length, an unsigned number of *prefix_size* bytes, big-endian."""

    def __init__(self, max_size: int, prefix_size: int = 4) -> None:
        super().__init__(max_size)
        self._prefix_size = prefix_size

    def _next(self, start: int) -> tuple[int, int, int] | None:
        begin = start + self._prefix_size
        if begin > len(self._buffer):
            return None
        size = int.from_bytes(self._buffer[start:begin], "big")
        self._check(size)
        end = begin + size
        return (begin, end, end) if end <= len(self._buffer) else None

    def frame(self, message: bytes) -> bytes:
        """Put the length before *message*."""
        try:
            return len(message).to_bytes(self._prefix_size, "big") + message
        except OverflowError:
            raise FramingError(
                f"a message of {len(message)} bytes does not fit a length of {self._prefix_size} bytes"
            ) from None


class NetstringFraming(_Buffered):
    """Netstrings: length in decimal, a colon, the message, a comma (D. J. Bernstein, netstrings.txt)."""

    def _next(self, start: int) -> tuple[int, int, int] | None:
        buffer = self._buffer
        digits = len(str(self._max_size))
        colon = buffer.find(b":", start, start + digits + 1)
        length = bytes(buffer[start : colon if colon >= 0 else len(buffer)])
        if length and not length.isdigit():
            raise FramingError(f"a netstring begins with its length, not with {length[:digits]!r}")
        if length.startswith(b"0") and len(length) > 1:
            raise FramingError("the length of a netstring has no leading zeros")
        if len(length) > digits:
            raise FramingError(f"a message is longer than {self._max_size} bytes")
        if colon < 0:
            return None
        if not length:
            raise FramingError("a netstring begins with its length, not with ':'")
        size = int(length)
        self._check(size)
        end = colon + 1 + size
        if end >= len(buffer):
            return None
        if buffer[end] != 0x2C:
            raise FramingError(f"a netstring ends with ',', not with {bytes(buffer[end : end + 1])!r}")
        return colon + 1, end, end + 1

    def frame(self, message: bytes) -> bytes:
        """Make a netstring of *message*."""
        return b"%d:%s," % (len(message), message)


class FixedFraming(_Buffered):
    """Every message is *size* bytes long."""

    def __init__(self, size: int) -> None:
        super().__init__(size)

    def _next(self, start: int) -> tuple[int, int, int] | None:
        end = start + self._max_size
        return (start, end, end) if end <= len(self._buffer) else None

    def frame(self, message: bytes) -> bytes:
        """Return *message*, which must have the size."""
        if len(message) != self._max_size:
            raise FramingError(f"a reply has {len(message)} bytes, and the framing wants {self._max_size}")
        return message


#: Makers of framings by name, from the options of a message handler:
#: (max_message_size, delimiter, prefix_size).
FRAMINGS: dict[str, Callable[[int, bytes, int], Framing]] = {
    "lines": lambda max_size, delimiter, prefix_size: LinesFraming(max_size),
    "length-prefixed": lambda max_size, delimiter, prefix_size: LengthPrefixedFraming(max_size, prefix_size),
    "netstring": lambda max_size, delimiter, prefix_size: NetstringFraming(max_size),
    "delimiter": lambda max_size, delimiter, prefix_size: DelimiterFraming(max_size, delimiter),
    "fixed": lambda max_size, delimiter, prefix_size: FixedFraming(max_size),
}
