"""Framings: how the messages of a stream are told apart. Sans-IO: bytes in, messages out.

A framing is a component: a class like :class:`Framing`, registered by ``plugport_register_framings``.
Each connection gets an instance. A parameter of the constructor is an option: it gets the value that
the message handler has under that name. One that is annotated as a class attribute, with a Help, is
listed, and can be set by name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Protocol

from plugport.contracts.members import Help
from plugport.errors import PlugportError, TargetError

__all__ = [
    "FRAMINGS",
    "DelimiterFraming",
    "FixedFraming",
    "Framing",
    "FramingClass",
    "FramingError",
    "LengthPrefixedFraming",
    "LinesFraming",
    "NetstringFraming",
    "check_framing",
    "framing_factory",
]


class FramingError(PlugportError):
    """The bytes break the rules of the framing, or a message is longer than is allowed."""


class Framing(Protocol):
    """The framing of one connection: what every framing class implements."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take *data*, return the messages that are complete by now. Raises FramingError."""

    def finish(self) -> list[bytes]:
        """Take the end of the stream, return the messages that it completes. Raises FramingError."""

    def frame(self, message: bytes) -> bytes:
        """Return *message* in its frame. Raises FramingError if the framing can't carry it."""


#: A class of framings; its parameters are options.
FramingClass = Callable[..., Framing]

_MaxMessageSize = Annotated[int, Help("longest message in bytes", gt=0)]


class _DelimitedFraming:
    """A framing whose messages end with a delimiter."""

    def __init__(self, max_size: int, delimiter: bytes) -> None:
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
        """Return the last message if it lacks its delimiter."""
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


class DelimiterFraming(_DelimitedFraming):
    """Messages end with *delimiter*. The last one of a stream may lack it.

    Raises ValueError for an empty *delimiter*.
    """

    max_message_size: _MaxMessageSize = 65536
    delimiter: Annotated[bytes, Help("bytes that end a message")] = b"\0"

    def __init__(self, max_message_size: int, delimiter: bytes = b"\0") -> None:
        if not delimiter:
            raise ValueError("the delimiter is empty")
        super().__init__(max_message_size, delimiter)


class LinesFraming(_DelimitedFraming):
    """Messages are lines that end with LF or CRLF; replies end with LF. The last line may lack its end."""

    max_message_size: _MaxMessageSize = 65536

    def __init__(self, max_message_size: int) -> None:
        # One byte more: a CR is no part of the line.
        super().__init__(max_message_size + 1, b"\n")
        self._max_line = max_message_size

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that have ended, without their ends."""
        size = data.find(b"\n")
        if 0 <= size <= self._max_line and size == len(data) - 1 and not self._parts:
            # Most clients send one whole line.
            return [data[:-2] if data.endswith(b"\r\n") else data[:-1]]
        lines = super().feed(data)
        return [self._strip(line) for line in lines]

    def finish(self) -> list[bytes]:
        """Return the last line if it lacks its end."""
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


class _CountedFraming:
    """A framing that knows the length of a message before its end."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete."""
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
        """Return the begin and end of the message at *start*, and the start of the next; None: incomplete."""
        raise NotImplementedError

    def finish(self) -> list[bytes]:
        """Return no message: an incomplete one is an error."""
        if self._buffer:
            raise FramingError(f"the stream ended inside a message, after {len(self._buffer)} bytes of it")
        return []

    def _check(self, size: int) -> None:
        if size > self._max_size:
            raise FramingError(f"a message of {size} bytes is longer than {self._max_size} bytes")


class LengthPrefixedFraming(_CountedFraming):
    """Each message follows its length, an unsigned number of *prefix_size* bytes, big-endian."""

    max_message_size: _MaxMessageSize = 65536
    prefix_size: Annotated[int, Help("bytes of the length before each message", ge=1, le=8)] = 4

    def __init__(self, max_message_size: int, prefix_size: int = 4) -> None:
        super().__init__(max_message_size)
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


class NetstringFraming(_CountedFraming):
    """Netstrings: length in decimal, a colon, the message, a comma (D. J. Bernstein, netstrings.txt)."""

    max_message_size: _MaxMessageSize = 65536

    def __init__(self, max_message_size: int) -> None:
        super().__init__(max_message_size)

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


class FixedFraming(_CountedFraming):
    """Every message has *max_message_size* bytes, and every reply."""

    max_message_size: Annotated[int, Help("bytes of each message", gt=0)] = 65536

    def __init__(self, max_message_size: int) -> None:
        super().__init__(max_message_size)

    def _next(self, start: int) -> tuple[int, int, int] | None:
        end = start + self._max_size
        return (start, end, end) if end <= len(self._buffer) else None

    def frame(self, message: bytes) -> bytes:
        """Return *message*, which must have the size."""
        if len(message) != self._max_size:
            raise FramingError(f"a reply has {len(message)} bytes, and the framing wants {self._max_size}")
        return message


#: The built-in framings, for code that has no registry.
FRAMINGS: dict[str, FramingClass] = {
    "lines": LinesFraming,
    "length-prefixed": LengthPrefixedFraming,
    "netstring": NetstringFraming,
    "delimiter": DelimiterFraming,
    "fixed": FixedFraming,
}


def framing_factory(framing: FramingClass, handler: type) -> Callable[[], Framing]:
    """Return a callable that makes the *framing* of a connection, from the options of *handler*.

    An option that the handler lacks has the value of the framing's class attribute, or its default.
    """
    options = {}
    for name in inspect.signature(framing).parameters:
        for owner in (handler, framing):
            if hasattr(owner, name):
                options[name] = getattr(owner, name)
                break
    return functools.partial(framing, **options)


def check_framing(target: object, handler: type) -> FramingClass:
    """Return *target* if it is a framing class that can be made from the options of *handler*.

    Raises TargetError.
    """
    if not isinstance(target, type):
        raise TargetError(f"{target!r} is no framing: a framing is a class")
    for name in ("feed", "finish", "frame"):
        if not callable(getattr(target, name, None)):
            raise TargetError(f"{target!r} is no framing: it has no method {name}()")
    try:
        signature = inspect.signature(target)
    except ValueError:
        return target  # a class written in C without a signature
    for each in signature.parameters.values():
        if each.kind is each.POSITIONAL_ONLY:
            raise TargetError(f"{target!r} is no framing: its parameter {each.name!r} has no keyword")
        if (
            each.default is each.empty
            and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
            and not (hasattr(handler, each.name) or hasattr(target, each.name))
        ):
            raise TargetError(
                f"{target!r} is no framing: its parameter {each.name!r} is neither an option of message "
                "handlers nor a class attribute, and has no default"
            )
    return target
