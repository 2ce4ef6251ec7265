"""The streams of a WSGI environ: wsgi.input and wsgi.errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

__all__ = ["NO_BODY", "BodyError", "ErrorLog", "InputStream"]

logger = logging.getLogger("plugport.http.wsgi")


class BodyError(OSError):
    """Raised by wsgi.input if the body is malformed, too long, or does not arrive in time."""


class InputStream:
    """The body of a request as a readable file that ends at the end of the body.

    *next_piece* returns the next piece of the body and b"" at its end; it waits for the client.
    """

    __slots__ = ("_buffer", "_next_piece", "_position")

    def __init__(self, next_piece: Callable[[], bytes]) -> None:
        self._next_piece = next_piece
        self._buffer = b""
        self._position = 0

    def read(self, size: int | None = -1) -> bytes:
        """Return *size* bytes, or fewer at the end; with -1 or None the rest of the body."""
        if size is None or size < 0:
            return b"".join(self._rest())
        pieces = []
        while size:
            piece = self._take(size)
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read1(self, size: int = -1) -> bytes:
        """Return at most *size* bytes (-1: no limit) without waiting for more than one piece."""
        return self._take(size) if size != 0 else b""

    def readline(self, size: int | None = -1) -> bytes:
        """Return the next line with its LF, at most *size* bytes of it; b"" at the end."""
        remaining = -1 if size is None else size
        pieces = []
        while remaining and self._fill():
            end = self._buffer.find(b"\n", self._position) + 1
            length = (end or len(self._buffer)) - self._position
            if remaining >= 0:
                length = min(length, remaining)
                remaining -= length
            piece = self._take(length)
            pieces.append(piece)
            if piece.endswith(b"\n"):
                break
        return b"".join(pieces)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Return the remaining lines; with a positive *hint*, lines of about that many bytes in total."""
        lines, size = [], 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _fill(self) -> bool:
        if self._position >= len(self._buffer):
            self._buffer, self._position = self._next_piece(), 0
        return bool(self._buffer)

    def _take(self, size: int) -> bytes:
        if not self._fill():
            return b""
        start = self._position
        end = len(self._buffer) if size < 0 else start + size
        if not start and end >= len(self._buffer):
            piece, self._buffer = self._buffer, b""
            return piece
        piece = self._buffer[start:end]
        self._position = start + len(piece)
        return piece

    def _rest(self) -> Iterator[bytes]:
        while piece := self._take(-1):
            yield piece


#: The body of a request that has none.
NO_BODY = InputStream(lambda: b"")


class ErrorLog:
    """wsgi.errors: logs the lines that an application writes."""

    __slots__ = ("_line",)

    def __init__(self) -> None:
        self._line = ""

    def write(self, text: str) -> int:
        """Log the complete lines of *text*; keep the rest."""
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            logger.error("%s", line)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of *lines*."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Log the incomplete last line."""
        if self._line:
            line, self._line = self._line, ""
            logger.error("%s", line)
