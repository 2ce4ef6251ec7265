"""Content types by file name, and the content codings that a client accepts."""

from __future__ import annotations

import mimetypes
import os
import re
from functools import lru_cache

__all__ = ["CODINGS", "accepted_codings", "content_type"]

#: Content codings of precompressed files, the best first, and their file name suffixes.
CODINGS = {b"br": b".br", b"gzip": b".gz"}
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_QUALITY = re.compile(rb"[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def content_type(name: bytes, charset: str) -> bytes:
    """Return the content type of a file by its name; *charset* is added to text types."""
    kind, coding = mimetypes.guess_type(os.fsdecode(name), strict=False)
    if coding is not None:
        kind = _COMPRESSED.get(coding, "application/octet-stream")
    if kind is None:
        kind = "application/octet-stream"
    if charset and kind.startswith("text/"):
        kind += f"; charset={charset}"
    return kind.encode()


@lru_cache(256)
def accepted_codings(accept: bytes) -> tuple[bytes, ...]:
    """Return the codings that a client accepts, its favourite first. (RFC 9110, 12.5.3)"""
    qualities: dict[bytes, float] = {}
    for item in accept.lower().split(b","):
        coding, _, parameter = (part.strip() for part in item.partition(b";"))
        match = _QUALITY.fullmatch(parameter)
        if not parameter:
            qualities[coding] = 1.0
        elif match is not None:
            qualities[coding] = float(match[1])
    if b"x-gzip" in qualities:
        qualities.setdefault(b"gzip", qualities[b"x-gzip"])
    default = qualities.get(b"*", 0.0)
    identity = qualities.get(b"identity", 0.0)  # an explicit preference for the plain file
    wanted = {coding: qualities.get(coding, default) for coding in CODINGS}
    accepted = [coding for coding in CODINGS if wanted[coding] > 0.0 and wanted[coding] >= identity]
    return tuple(sorted(accepted, key=lambda coding: -wanted[coding]))
