"""The head of a request: where it ends, whether it is well-formed, and what it says of the body.

One strict check that stands before either parser, so that both give the same verdicts: what RFC
9112 lets a lenient recipient guess at is refused here, for two who guess differently are how
requests are smuggled. The verdict depends on the bytes alone, never on how they were cut.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from plugport_http.engine.errors import HTTPError
from plugport_http.engine.limits import Limits
from plugport_http.engine.parsers import HeaderParser
from plugport_http.engine.request import Request

__all__ = ["HeadReader"]

#: What may stand in a head besides the line ends: no control character but the tab. (RFC 9110, 5.5)
_PLAIN = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_METHOD = re.compile(_TOKEN)
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
#: A line after the first that does not begin with a name and a colon: obs-fold, or white space before it.
_BAD_FIELD = re.compile(rb"\n(?!%b:)" % _TOKEN)
#: Visible ASCII, but what is never sent raw (RFC 3986) or begins a fragment.
_TARGET = re.compile(rb"[!$-;=?-~]+")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]+)([^?]*)")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[0-9A-Za-z._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?")
#: The fields that frame a body, as they stand in a head: the parsers have views of their own on them.
_LENGTH_FIELD = re.compile(rb"(?i:\ncontent-length:)[ \t]*[0-9]{1,18}[ \t]*\r")
_CODING_FIELD = re.compile(rb"(?i:\ntransfer-encoding:)([^\r]*)")

#: The methods of llhttp, all but CONNECT, which asks for a tunnel.
_METHODS = {
    name.encode(): name
    for name in re.findall(
        r"\S+",
        """
        GET HEAD POST PUT DELETE OPTIONS TRACE PATCH COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK
        BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE
        MKCALENDAR LINK UNLINK SOURCE
        """,
    )
}
#: Known transfer codings; of them only "chunked" is taken.
_CODINGS = {b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"identity"}


class HeadReader:
    """Reads the heads of one connection's requests, one after the other.

    The header of a client's request is mostly, byte for byte, that of the one before: what was read
    of it is kept, and read again only if it is another.
    """

    __slots__ = ("_header", "_max_head", "_max_headers", "_max_line", "_parse", "end")

    def __init__(self, limits: Limits, parse: HeaderParser) -> None:
        self._max_line = limits.max_line_size
        self._max_head = limits.max_head_size
        self._max_headers = limits.max_headers
        self._parse = parse
        self._header: _Header | None = None
        #: Where the head that was read last ended.
        self.end = 0

    def read(self, data: bytes) -> Request | None:
        """Read the head at the beginning of *data*; None if it is not complete.

        Raises HTTPError as soon as it can't become a good one.
        """
        end = data.find(b"\r\n\r\n", 0, self._max_head)
        line_end = data.find(b"\r\n", 0, self._max_line + 2)
        if end < 0 or line_end < 0:
            self._check_incomplete(data, line_end)
            return None
        line, block = data[:line_end], data[line_end : end + 2]
        known = self._header
        if known is None or known.block != block:
            known = None
            _check_characters(data[: end + 4])
        parts = _read_short_line(line) if line_end <= _MAX_CACHED_LINE else _read_line(line)
        if known is None or known.version != parts.version:
            known = self._header = self._read_header(data[: end + 4], block, parts.version)
        self.end = end + 4
        request = Request()
        request.method, request.target, request.path, request.query, request.version, host = parts
        request.plain = parts.version == "1.1" and parts.method != "HEAD"
        request.headers = known.headers
        request.fields = known.fields
        if host:  # it stands for the field, whatever that says (RFC 9112, 3.2.2)
            request.headers = [(b"host", host), *(field for field in known.headers if field[0] != b"host")]
            request.fields = {**known.fields, b"host": host}
        request.content_length = known.content_length
        request.keep_alive = known.keep_alive
        request.expect_continue = known.expect_continue
        request.upgrade = known.upgrade
        return request

    def _check_incomplete(self, data: bytes, line_end: int) -> None:
        if line_end < 0 and len(data) > self._max_line + 1:
            _check_characters(data[: self._max_line + 1])
            raise HTTPError(414, f"the request line is longer than {self._max_line} bytes")
        _check_characters(data[: self._max_head])
        if len(data) >= self._max_head:
            raise HTTPError(431, f"the head is larger than {self._max_head} bytes")

    def _read_header(self, head: bytes, block: bytes, version: str) -> _Header:
        """Read the fields of a head. *block*: its lines, from the end of the request line on."""
        if _BAD_FIELD.search(block, 0, len(block) - 2):
            raise HTTPError(400, "a field of the header is malformed")
        count = block.count(b"\n") - 1
        if count > self._max_headers:
            raise HTTPError(431, f"the header has more than {self._max_headers} fields")
        try:
            headers = self._parse(head)
        except HTTPError:
            _check_refused_coding(version, block)
            raise
        if len(headers) != count:
            raise HTTPError(400, "a field is repeated that may not be")  # h11 makes two lengths one
        fields = dict(headers)
        if len(fields) != count:
            fields = _join_repeated(headers)
        host = fields.get(b"host")
        if host is None:
            if version == "1.1":
                raise HTTPError(400, "there is no Host")
        elif not _is_host(host):
            raise HTTPError(400, "the Host is malformed")
        return _Header(block, version, headers, fields)


class _Line(NamedTuple):
    """What a request line says."""

    method: str
    target: bytes
    path: bytes
    query: bytes
    version: str
    host: bytes  # of a target in absolute-form, else b""


#: Bytes of a request line that is short enough to be kept when it was read: many clients send the same.
_MAX_CACHED_LINE = 256


def _read_line(line: bytes) -> _Line:
    parts = line.split(b" ")
    if len(parts) != 3 or line.translate(None, _PLAIN):
        raise HTTPError(400, "the request line is malformed")
    method, target, version = parts
    known = _METHODS.get(method)
    if known is None and not _METHOD.fullmatch(method):
        raise HTTPError(400, "the method is malformed")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        if _VERSION.fullmatch(version):
            raise HTTPError(505, "only HTTP/1.1 and HTTP/1.0 are spoken")
        raise HTTPError(400, "the request line is malformed")
    if known is None:
        raise HTTPError(501, "the method is not known")
    if _TARGET.fullmatch(target) is None:
        raise HTTPError(400, "the request target is malformed")
    path, host = target, b""
    if target[0] != 0x2F:  # not in origin-form
        match = _ABSOLUTE.match(target)
        if match is not None:
            if not _is_host(match[1]):
                raise HTTPError(400, "the host in the request target is malformed")
            host = match[1]
            path = (match[2] or b"/") + target[match.end() :]
        elif not (target == b"*" and method == b"OPTIONS"):
            raise HTTPError(400, "the request target is malformed")
    path, _, query = path.partition(b"?")
    return _Line(known, target, path, query, version[5:].decode(), host)


_read_short_line = lru_cache(1024)(_read_line)


@lru_cache(256)
def _is_host(host: bytes) -> bool:
    return _HOST.fullmatch(host) is not None


class _Header:
    """The fields of a header, and what they say of the body and the connection."""

    __slots__ = (
        "block",
        "content_length",
        "expect_continue",
        "fields",
        "headers",
        "keep_alive",
        "upgrade",
        "version",
    )

    def __init__(
        self, block: bytes, version: str, headers: list[tuple[bytes, bytes]], fields: dict[bytes, bytes]
    ) -> None:
        self.block, self.version = block, version
        self.headers, self.fields = headers, fields
        get = fields.get
        length, coding = get(b"content-length"), get(b"transfer-encoding")
        self.content_length: int | None = 0
        if coding is not None:
            _check_coding(version, coding, length is not None)
            self.content_length = None
        elif length is not None:
            if _LENGTH_FIELD.search(block) is None:
                raise HTTPError(400, "the Content-Length is malformed")
            self.content_length = int(length)
        self.keep_alive = version == "1.1"
        self.upgrade = b""
        connection = get(b"connection")
        if connection is not None:
            options = [option.strip() for option in connection.lower().split(b",")]
            if b"close" in options:
                self.keep_alive = False
            elif b"keep-alive" in options:
                self.keep_alive = True
            if b"upgrade" in options and version == "1.1":
                self.upgrade = get(b"upgrade", b"")
        self.expect_continue = False
        expect = get(b"expect")
        if expect is not None and version == "1.1":
            if expect.lower() != b"100-continue":
                raise HTTPError(417, "nothing but 100-continue can be expected")
            self.expect_continue = self.content_length != 0


def _check_characters(part: bytes) -> None:
    """Refuse what is bad in a part of a head, whatever follows."""
    odd = len(part.translate(None, _PLAIN)) - 2 * part.count(b"\r\n")
    if odd and not (odd == 1 and part.endswith(b"\r")):
        raise HTTPError(400, "a control character, a bare CR or a bare LF is in the head")


def _join_repeated(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in fields:
            if name in (b"host", b"content-length"):
                raise HTTPError(400, f"{name.decode()} is repeated")
            value = fields[name] + (b"; " if name == b"cookie" else b", ") + value
        fields[name] = value
    return fields


def _check_refused_coding(version: str, block: bytes) -> None:
    """Say what is wrong with a Transfer-Encoding that made the parser refuse the head."""
    codings = _CODING_FIELD.findall(block)
    if codings:
        _check_coding(version, b",".join(codings), b"\ncontent-length:" in block.lower())


def _check_coding(version: str, coding: bytes, has_length: bool) -> None:
    """Take "chunked", and nothing else. (RFC 9112, 6.1 and 6.3)"""
    if has_length:
        raise HTTPError(400, "Content-Length and Transfer-Encoding contradict each other")
    if version == "1.0":
        raise HTTPError(400, "HTTP/1.0 has no Transfer-Encoding")
    codings = [name.strip(b" \t") for name in coding.lower().split(b",")]
    if codings == [b"chunked"]:
        return
    unknown = [name for name in codings if name not in _CODINGS and name != b"chunked"]
    if unknown and all(_METHOD.fullmatch(name) for name in unknown):
        raise HTTPError(501, "the transfer coding is not known")
    if unknown or codings[-1] != b"chunked" or codings.count(b"chunked") > 1:
        raise HTTPError(400, "the Transfer-Encoding is malformed")
    raise HTTPError(501, "no transfer coding but chunked is taken")
