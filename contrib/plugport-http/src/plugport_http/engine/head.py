"""HeadReader: finds, checks and reads the head of a request.

The strict checks come before either parser, so that both give the same result. Everything that RFC 9112 lets
a lenient recipient guess is rejected here, because request smuggling needs two recipients that guess
differently. The result depends on the bytes only, never on how they were split on arrival.
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

#: The bytes allowed in a head besides line ends: no control character except the tab. (RFC 9110, 5.5)
_PLAIN = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_METHOD = re.compile(_TOKEN)
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
#: A header line that does not begin with a name and a colon: obs-fold, or white space before the colon.
_BAD_FIELD = re.compile(rb"\n(?!%b:)" % _TOKEN)
#: Visible ASCII without the characters that must be encoded (RFC 3986) and the "#" of fragments.
_TARGET = re.compile(rb"[!$-;=?-~]+")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]+)([^?]*)")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[0-9A-Za-z._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?")
#: The raw fields that frame a body: the parsers differ in what they accept.
_LENGTH_FIELD = re.compile(rb"(?i:\ncontent-length:)[ \t]*[0-9]{1,18}[ \t]*\r")
_CODING_FIELD = re.compile(rb"(?i:\ntransfer-encoding:)([^\r]*)")

#: The methods of llhttp except CONNECT, which opens a tunnel.
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
#: Registered transfer codings that are not supported.
_CODINGS = {b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"identity"}


class HeadReader:
    """Reads the heads of a connection's requests.

    The header of a request is often identical to the one before, byte for byte. The parsed header is kept and
    used again then.
    """

    __slots__ = ("_header", "_max_head", "_max_headers", "_max_line", "_parse", "end")

    def __init__(self, limits: Limits, parse: HeaderParser) -> None:
        self._max_line = limits.max_line_size
        self._max_head = limits.max_head_size
        self._max_headers = limits.max_headers
        self._parse = parse
        self._header: _Header | None = None
        #: The position after the last head.
        self.end = 0

    def read(self, data: bytes) -> Request | None:
        """Return the request whose head begins *data*; None if the head is incomplete.

        Raises HTTPError as soon as the head can't become valid.
        """
        end = data.find(b"\r\n\r\n", 0, self._max_head)
        line_end = data.find(b"\r\n", 0, self._max_line + 2)
        if end < 0 or line_end < 0:
            self._check_incomplete(data, line_end)
            return None
        line, block = data[:line_end], data[line_end : end + 2]
        header = self._header
        if header is None or header.block != block:
            header = None
            _check_characters(data[: end + 4])
        parts = _read_short_line(line) if line_end <= _MAX_CACHED_LINE else _read_line(line)
        if header is None or header.version != parts.version:
            header = self._header = self._read_header(data[: end + 4], block, parts.version)
        self.end = end + 4
        request = Request()
        request.method, request.target, request.path, request.query, request.version, host = parts
        request.plain = parts.version == "1.1" and parts.method != "HEAD"
        request.headers = header.headers
        request.fields = header.fields
        if host:  # RFC 9112, 3.2.2: the host of an absolute target replaces the Host field
            request.headers = [(b"host", host), *(field for field in header.headers if field[0] != b"host")]
            request.fields = {**header.fields, b"host": host}
        request.content_length = header.content_length
        request.keep_alive = header.keep_alive
        request.expect_continue = header.expect_continue
        request.upgrade = header.upgrade
        return request

    def _check_incomplete(self, data: bytes, line_end: int) -> None:
        if line_end < 0 and len(data) > self._max_line + 1:
            _check_characters(data[: self._max_line + 1])
            raise HTTPError(414, f"the request line is longer than {self._max_line} bytes")
        _check_characters(data[: self._max_head])
        if len(data) >= self._max_head:
            raise HTTPError(431, f"the head is larger than {self._max_head} bytes")

    def _read_header(self, head: bytes, block: bytes, version: str) -> _Header:
        """Parse the fields of a head; *block* is the head without the request line and the last CRLF."""
        if _BAD_FIELD.search(block, 0, len(block) - 2):
            raise HTTPError(400, "a header field is malformed")
        count = block.count(b"\n") - 1
        if count > self._max_headers:
            raise HTTPError(431, f"the header has more than {self._max_headers} fields")
        try:
            headers = self._parse(head)
        except HTTPError:
            _check_refused_coding(version, block)
            raise
        if len(headers) != count:
            raise HTTPError(400, "a field is repeated that must be unique")  # h11 merges equal lengths
        fields = dict(headers)
        if len(fields) != count:
            fields = _join_repeated(headers)
        host = fields.get(b"host")
        if host is None:
            if version == "1.1":
                raise HTTPError(400, "Host is missing")
        elif not _is_host(host):
            raise HTTPError(400, "Host is malformed")
        return _Header(block, version, headers, fields)


class _RequestLine(NamedTuple):
    method: str
    target: bytes
    path: bytes
    query: bytes
    version: str
    host: bytes  # of a target in absolute form, else b""


#: Bytes of the longest request line whose result is cached: many clients send the same lines.
_MAX_CACHED_LINE = 256


def _read_line(line: bytes) -> _RequestLine:
    parts = line.split(b" ")
    if len(parts) != 3 or line.translate(None, _PLAIN):
        raise HTTPError(400, "the request line is malformed")
    method, target, version = parts
    name = _METHODS.get(method)
    if name is None and not _METHOD.fullmatch(method):
        raise HTTPError(400, "the method is malformed")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        if _VERSION.fullmatch(version):
            raise HTTPError(505, "only HTTP/1.1 and HTTP/1.0 are supported")
        raise HTTPError(400, "the request line is malformed")
    if name is None:
        raise HTTPError(501, "the method is unknown")
    if _TARGET.fullmatch(target) is None:
        raise HTTPError(400, "the request target is malformed")
    path, host = target, b""
    if target[0] != 0x2F:  # not in origin form
        match = _ABSOLUTE.match(target)
        if match is not None:
            if not _is_host(match[1]):
                raise HTTPError(400, "the host in the request target is malformed")
            host = match[1]
            path = (match[2] or b"/") + target[match.end() :]
        elif not (target == b"*" and method == b"OPTIONS"):
            raise HTTPError(400, "the request target is malformed")
    path, _, query = path.partition(b"?")
    return _RequestLine(name, target, path, query, version[5:].decode(), host)


_read_short_line = lru_cache(1024)(_read_line)


@lru_cache(256)
def _is_host(host: bytes) -> bool:
    return _HOST.fullmatch(host) is not None


class _Header:
    """The parsed fields of a head, with what follows from them for the body and the connection."""

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
                raise HTTPError(400, "Content-Length is malformed")
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
                raise HTTPError(417, "only the expectation 100-continue is supported")
            self.expect_continue = self.content_length != 0


def _check_characters(part: bytes) -> None:
    """Raise HTTPError for a byte that is invalid in a part of a head, whatever follows."""
    invalid = len(part.translate(None, _PLAIN)) - 2 * part.count(b"\r\n")
    if invalid and not (invalid == 1 and part.endswith(b"\r")):
        raise HTTPError(400, "the head has a control character, a bare CR or a bare LF")


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
    """Raise the precise HTTPError if the parser rejected the head because of Transfer-Encoding."""
    codings = _CODING_FIELD.findall(block)
    if codings:
        _check_coding(version, b",".join(codings), b"\ncontent-length:" in block.lower())


def _check_coding(version: str, coding: bytes, has_length: bool) -> None:
    """Raise HTTPError unless the only coding is "chunked". (RFC 9112, 6.1 and 6.3)"""
    if has_length:
        raise HTTPError(400, "Content-Length and Transfer-Encoding contradict each other")
    if version == "1.0":
        raise HTTPError(400, "HTTP/1.0 has no Transfer-Encoding")
    codings = [name.strip(b" \t") for name in coding.lower().split(b",")]
    if codings == [b"chunked"]:
        return
    unknown = [name for name in codings if name not in _CODINGS and name != b"chunked"]
    if unknown and all(_METHOD.fullmatch(name) for name in unknown):
        raise HTTPError(501, "the transfer coding is unknown")
    if unknown or codings[-1] != b"chunked" or codings.count(b"chunked") > 1:
        raise HTTPError(400, "Transfer-Encoding is malformed")
    raise HTTPError(501, "only the transfer coding chunked is supported")
