"""Conditional requests (RFC 9110, 13): validators of files, and the evaluation of a request's conditions."""

from __future__ import annotations

import os
import re
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

__all__ = ["CONDITIONS", "Validators", "failed_precondition", "is_range_applicable"]

#: The fields that make a request conditional or partial.
CONDITIONS = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range"}
)
_TAG = re.compile(rb'[ \t,]*((?:W/)?"[!\x23-\x7e\x80-\xff]*")[ \t]*(?=,|$)')


class Validators:
    """The ETag and Last-Modified of a file. ``modified`` is in whole seconds since the epoch."""

    __slots__ = ("etag", "last_modified", "modified")

    def __init__(self, status: os.stat_result, coding: bytes = b"") -> None:
        suffix = b"-" + coding if coding else b""
        self.etag = b'"%x-%x%b"' % (status.st_mtime_ns, status.st_size, suffix)
        self.modified = status.st_mtime_ns // 1_000_000_000
        self.last_modified = formatdate(max(self.modified, 0), usegmt=True).encode()


def failed_precondition(fields: dict[bytes, bytes], validators: Validators) -> int | None:
    """Return the status, 412 or 304, of the first condition that fails, or None. (RFC 9110, 13.2.2)"""
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
    """Return whether Range applies: there is no If-Range, or it matches the file. (RFC 9110, 13.1.5)"""
    condition = fields.get(b"if-range")
    if condition is None:
        return True
    if condition.endswith(b'"'):
        return condition == validators.etag  # a weak tag never matches
    return condition == validators.last_modified


def _has_tag(listed: bytes, etag: bytes, *, weak: bool) -> bool:
    if listed == b"*":
        return True
    tags = _TAG.findall(listed)
    return etag in tags or (weak and b"W/" + etag in tags)


@lru_cache(256)
def _seconds(date: bytes) -> int | None:
    """Return an HTTP date in seconds since the epoch, or None if it is malformed."""
    try:
        return int(parsedate_to_datetime(date.decode("ascii")).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None
