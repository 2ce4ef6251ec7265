"""ChunkedDecoder: a strict decoder of request bodies in chunked transfer coding (RFC 9112, 7.1).

Every line ends in CRLF, sizes are plain hexadecimal digits, and the length of extensions and trailers is
limited. Trailers are checked and dropped.
"""

from __future__ import annotations

import re

from plugport_http.engine.errors import HTTPError

__all__ = ["ChunkedDecoder"]

#: Bytes of a chunk-size line.
_MAX_LINE = 256
#: Bytes of all extensions and trailers of a body together.
_MAX_EXTRA = 8192

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?)*)" % (_TOKEN, _TOKEN, _QUOTED)
)
_TRAILER = re.compile(rb"%b:[\t -~\x80-\xff]*" % _TOKEN)

_SIZE_LINE, _DATA, _DATA_END, _TRAILERS, _END = range(5)


class ChunkedDecoder:
    """Extracts the content from chunked data. Raises HTTPError if the data is malformed."""

    __slots__ = ("_extra", "_remaining", "_state")

    def __init__(self) -> None:
        self._state = _SIZE_LINE
        self._remaining = 0  # bytes of the current chunk
        self._extra = 0

    @property
    def ended(self) -> bool:
        """Whether the body is complete."""
        return self._state == _END

    def decode(self, data: bytes, start: int) -> tuple[bytes, int]:
        """Return (content, end): the next piece of content in *data* from *start* on, and where it ends.

        Empty content means that the body has ended, or that more data is needed.
        """
        while True:
            if self._state == _DATA:
                piece = data[start : start + self._remaining]
                start += len(piece)
                self._remaining -= len(piece)
                if not self._remaining:
                    self._state = _DATA_END
                return piece, start
            if self._state == _DATA_END:
                if data[start : start + 2] != b"\r\n":
                    if b"\r\n".startswith(data[start : start + 2]):
                        return b"", start
                    raise HTTPError(400, "a chunk is longer than its size")
                start += 2
                self._state = _SIZE_LINE
            elif self._state == _END:
                return b"", start
            else:
                line, start = self._line(data, start)
                if line is None:
                    return b"", start
                if self._state == _SIZE_LINE:
                    self._begin_chunk(line)
                else:
                    self._check_trailer(line)

    def _line(self, data: bytes, start: int) -> tuple[bytes | None, int]:
        """Return the line at *start* without its CRLF, or None if it is incomplete, and the next position."""
        limit = _MAX_LINE if self._state == _SIZE_LINE else _MAX_EXTRA
        end = data.find(b"\n", start, start + limit + 2)
        if end < 0:
            if len(data) - start >= limit + 2:
                raise HTTPError(400, "a line of the chunked body is too long")
            return None, start
        if end == start or data[end - 1] != 0x0D:
            raise HTTPError(400, "a line of the chunked body does not end in CRLF")
        return data[start : end - 1], end + 1

    def _begin_chunk(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise HTTPError(400, "the size of a chunk is malformed")
        self._count_extra(len(match[2]))
        self._remaining = int(match[1], 16)
        self._state = _DATA if self._remaining else _TRAILERS

    def _check_trailer(self, line: bytes) -> None:
        if not line:
            self._state = _END
            return
        if _TRAILER.fullmatch(line) is None:
            raise HTTPError(400, "a trailer is malformed")
        self._count_extra(len(line) + 2)

    def _count_extra(self, size: int) -> None:
        self._extra += size
        if self._extra > _MAX_EXTRA:
            raise HTTPError(400, "extensions and trailers of the chunked body are too long")
