"""Byte ranges (RFC 9110, 14): parses the Range field, and plans the multipart body of several ranges."""

from __future__ import annotations

import re
import secrets

__all__ = ["Region", "multipart_body", "parse_ranges"]

#: (offset, count) in bytes.
Region = tuple[int, int]

#: Ranges in one request; the whole file is sent for more.
_MAX_RANGES = 16
_RANGE = re.compile(rb"[ \t]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*")


def parse_ranges(value: bytes, size: int) -> list[Region] | None:
    """Return the regions of a file of *size* bytes that the Range *value* requests, in their order.

    None means to ignore the field: it is malformed, has too many ranges, or requests more bytes than the file
    has. An empty list means that no range can be satisfied.
    """
    unit, equals, listed = value.partition(b"=")
    if unit.strip().lower() != b"bytes" or not equals:
        return None
    specs = listed.split(b",")
    if len(specs) > _MAX_RANGES:
        return None
    regions: list[Region] = []
    for spec in specs:
        match = _RANGE.fullmatch(spec)
        if match is None:
            return None
        first, last, suffix = match.groups()
        if suffix is not None:
            count = min(int(suffix), size)
            start, end = size - count, size
        else:
            start = int(first)
            if last and int(last) < start:
                return None
            end = min(int(last) + 1, size) if last else size
        if start < end:
            regions.append((start, end - start))
    if len(regions) > 1 and sum(count for _, count in regions) > size:
        return None
    return regions


def multipart_body(
    regions: list[Region], size: int, content_type: bytes
) -> tuple[bytes, list[bytes | Region], int]:
    """Return the content type, the pieces and the length of a multipart/byteranges body."""
    boundary = secrets.token_hex(12).encode()
    pieces: list[bytes | Region] = []
    length = 0
    for number, region in enumerate(regions):
        offset, count = region
        head = b"%b--%b\r\ncontent-type: %b\r\ncontent-range: bytes %d-%d/%d\r\n\r\n" % (
            b"\r\n" if number else b"",
            boundary,
            content_type,
            offset,
            offset + count - 1,
            size,
        )
        pieces += [head, region]
        length += len(head) + count
    end = b"\r\n--%b--\r\n" % boundary
    pieces.append(end)
    return b"multipart/byteranges; boundary=" + boundary, pieces, length + len(end)
