"""What a file is, by its name: its content type; and which coding of it a client takes."""

from __future__ import annotations

import mimetypes
import os
import re
from functools import lru_cache

__all__ = ["CODINGS", "accepted_codings", "content_type"]

#: Content codings of precompressed files, the best first, and what is put after the file's name.
CODINGS = {b"br": b".br", b"gzip": b".gz"}
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_QUALITY = re.compile(rb"[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def content_type(name: bytes, charset: str) -> bytes:
    """Return the content type of a file of that name; *charset* is what text is in."""
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
    """Return the codings that a client accepts, those that it likes best first. (RFC 9110, 12.5.3)"""
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
    rest = qualities.get(b"*", 0.0)
    plain = qualities.get(b"identity", 0.0)  # one that prefers it in so many words has it
    wanted = {coding: qualities.get(coding, rest) for coding in CODINGS}
    liked = [coding for coding in CODINGS if wanted[coding] > 0.0 and wanted[coding] >= plain]
    return tuple(sorted(liked, key=lambda coding: -wanted[coding]))
