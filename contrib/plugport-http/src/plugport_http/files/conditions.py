"""Conditional requests (RFC 9110, 13): validators of a file, and what the client's conditions say of them."""

from __future__ import annotations

import os
import re
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

__all__ = ["CONDITIONS", "Validators", "failed_precondition", "is_range_applicable"]

#: Fields by which a request is more than a plain one.
CONDITIONS = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range"}
)
_TAG = re.compile(rb'[ \t,]*((?:W/)?"[!\x23-\x7e\x80-\xff]*")[ \t]*(?=,|$)')


class Validators:
    """What tells one state of a file from another. ``modified``: in whole seconds."""

    __slots__ = ("etag", "last_modified", "modified")

    def __init__(self, status: os.stat_result, coding: bytes = b"") -> None:
        suffix = b"-" + coding if coding else b""
        self.etag = b'"%x-%x%b"' % (status.st_mtime_ns, status.st_size, suffix)
        self.modified = status.st_mtime_ns // 1_000_000_000
        self.last_modified = formatdate(max(self.modified, 0), usegmt=True).encode()


def failed_precondition(fields: dict[bytes, bytes], validators: Validators) -> int | None:
    """Return 412 or 304 where a condition of a GET or HEAD says so, else None. (RFC 9110, 13.2.2)"""
    match, since = fields.get(b"if-match"), fields.get(b"if-unmodified-since")
    if match is not None:
        if not _has_tag(match, validators.etag, weak=False):
            return 412
    elif since is not None:
        date = _seconds(since)
        if date is not None and validators.modified > date:
            return 412
    match, since = fields.get(b"if-none-match"), fields.get(b"if-modified-since")
    if match is not None:
        return 304 if _has_tag(match, validators.etag, weak=True) else None
    if since is not None:
        date = _seconds(since)
        if date is not None and validators.modified <= date:
            return 304
    return None


def is_range_applicable(fields: dict[bytes, bytes], validators: Validators) -> bool:
    """Return whether a Range is to be looked at: If-Range names the state that the file is in."""
    condition = fields.get(b"if-range")
    if condition is None:
        return True
    if condition.endswith(b'"'):
        return condition == validators.etag  # a weak one never does
    return condition == validators.last_modified


def _has_tag(listed: bytes, etag: bytes, *, weak: bool) -> bool:
    if listed == b"*":
        return True
    tags = _TAG.findall(listed)
    return etag in tags or (weak and b"W/" + etag in tags)


@lru_cache(256)
def _seconds(date: bytes) -> int | None:
    """Return an HTTP date in seconds since the epoch, or None for one that is malformed."""
    try:
        return int(parsedate_to_datetime(date.decode("ascii")).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None
