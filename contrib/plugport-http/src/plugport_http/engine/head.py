"""The head of a request: where it ends, whether it is well-formed, and what it says of the body.

One strict check that stands before either parser, so that both give the same verdicts: what RFC
9112 lets a lenient recipient guess at is refused here, for two who guess differently are how
requests are smuggled. The verdict depends on the bytes alone, never on how they were cut.
"""

from __future__ import annotations

import re

from plugport_http.engine.errors import HTTPError
from plugport_http.engine.limits import Limits
from plugport_http.engine.parsers import HeaderParser
from plugport_http.engine.request import Request

__all__ = ["find_end", "read_head"]

#: What may stand in a head besides the line ends: no control character but the tab. (RFC 9110, 5.5)
_PLAIN = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
_LINE_ENDS = _PLAIN + b"\r\n"
#: CR without LF, unless it is the last byte as yet; LF without CR.
_BARE = re.compile(rb"\r(?=[^\n])|(?<!\r)\n")

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_METHOD = re.compile(_TOKEN)
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
#: A line after the first that does not begin with a name and a colon: obs-fold, or white space before it.
_BAD_FIELD = re.compile(rb"\n(?!%b:)" % _TOKEN)
#: Visible ASCII, but what is never sent raw (RFC 3986) or begins a fragment.
_TARGET = re.compile(rb"[!$-;=?-~]+")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]+)([^?]*)")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[0-9A-Za-z._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?")
_LENGTH = re.compile(rb"[0-9]{1,18}")

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


def find_end(data: bytes, limits: Limits) -> int:
    """Return where the head at the beginning of *data* ends, or 0 if it is not complete.

    Raises HTTPError as soon as it can't become a good one.
    """
    end = data.find(b"\r\n\r\n", 0, limits.max_head_size)
    line_end = data.find(b"\r\n", 0, limits.max_line_size + 2)
    if line_end < 0 and len(data) > limits.max_line_size + 1:
        _refuse_bare(data[: limits.max_line_size + 1])
        raise HTTPError(414, f"the request line is longer than {limits.max_line_size} bytes")
    if end >= 0:
        return end + 4
    _refuse_bare(data[: limits.max_head_size])
    if len(data) >= limits.max_head_size:
        raise HTTPError(431, f"the head is larger than {limits.max_head_size} bytes")
    return 0


def _refuse_bare(part: bytes) -> None:
    """Refuse what is bad in a part of a head, whatever follows."""
    if _BARE.search(part) or part.translate(None, _LINE_ENDS):
        raise HTTPError(400, "a control character, a bare CR or a bare LF is in the head")


def read_head(head: bytes, parse: HeaderParser, limits: Limits) -> Request:
    """Read a complete *head* into a Request. Raises HTTPError for one that is bad."""
    lines = head.count(b"\n")
    # What is left are all line ends, in their order.
    if head.translate(None, _PLAIN) != b"\r\n" * lines:
        raise HTTPError(400, "a control character, a bare CR or a bare LF is in the head")
    line, _, _ = head.partition(b"\r\n")
    parts = line.split(b" ")
    if len(parts) != 3:
        raise HTTPError(400, "the request line is malformed")
    method, target, version = parts
    request = Request()
    if version == b"HTTP/1.1":
        request.version = "1.1"
    elif version == b"HTTP/1.0":
        request.version = "1.0"
    else:
        if _VERSION.fullmatch(version) and _METHOD.fullmatch(method):
            raise HTTPError(505, "only HTTP/1.1 and HTTP/1.0 are spoken")
        raise HTTPError(400, "the request line is malformed")
    try:
        request.method = _METHODS[method]
    except KeyError:
        if _METHOD.fullmatch(method):
            raise HTTPError(501, "the method is not known") from None
        raise HTTPError(400, "the method is malformed") from None
    if _TARGET.fullmatch(target) is None:
        raise HTTPError(400, "the request target is malformed")
    if _BAD_FIELD.search(head, len(line), len(head) - 4):
        raise HTTPError(400, "a field of the header is malformed")
    if lines - 2 > limits.max_headers:
        raise HTTPError(431, f"the header has more than {limits.max_headers} fields")
    request.target = target
    request.headers = headers = parse(head)
    fields = dict(headers)
    if len(fields) != len(headers):
        fields = _joined(headers)
    request.fields = fields
    _read_host(request)
    _read_target(request)
    _read_framing(request)
    return request


def _joined(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in fields:
            if name in (b"host", b"content-length"):
                raise HTTPError(400, f"{name.decode()} is repeated")
            value = fields[name] + (b"; " if name == b"cookie" else b", ") + value
        fields[name] = value
    return fields


def _read_host(request: Request) -> None:
    host = request.fields.get(b"host")
    if host is None:
        if request.version == "1.1":
            raise HTTPError(400, "there is no Host")
    elif _HOST.fullmatch(host) is None:
        raise HTTPError(400, "the Host is malformed")


def _read_target(request: Request) -> None:
    target = request.target
    if target[0] != 0x2F:  # not in origin-form
        match = _ABSOLUTE.match(target)
        if match is not None:
            if _HOST.fullmatch(match[1]) is None:
                raise HTTPError(400, "the host in the request target is malformed")
            target = (match[2] or b"/") + target[match.end() :]
        elif not (target == b"*" and request.method == "OPTIONS"):
            raise HTTPError(400, "the request target is malformed")
    if b"?" in target:
        request.path, _, request.query = target.partition(b"?")
    else:
        request.path, request.query = target, b""


def _read_framing(request: Request) -> None:
    get = request.fields.get
    length, coding = get(b"content-length"), get(b"transfer-encoding")
    request.content_length = 0
    if coding is not None:
        _check_coding(request, coding, length)
        request.content_length = None
    elif length is not None:
        if _LENGTH.fullmatch(length) is None:
            raise HTTPError(400, "the Content-Length is malformed")
        request.content_length = int(length)
    request.keep_alive = request.version == "1.1"
    request.upgrade = b""
    connection = get(b"connection")
    if connection is not None:
        options = [option.strip() for option in connection.lower().split(b",")]
        if b"close" in options:
            request.keep_alive = False
        elif b"keep-alive" in options:
            request.keep_alive = True
        if b"upgrade" in options and request.version == "1.1":
            request.upgrade = get(b"upgrade", b"")
    request.expect_continue = False
    expect = get(b"expect")
    if expect is not None and request.version == "1.1":
        if expect.lower() != b"100-continue":
            raise HTTPError(417, "nothing but 100-continue can be expected")
        request.expect_continue = request.content_length != 0


def _check_coding(request: Request, coding: bytes, length: bytes | None) -> None:
    """Take "chunked", and nothing else. (RFC 9112, 6.1 and 6.3)"""
    if length is not None:
        raise HTTPError(400, "Content-Length and Transfer-Encoding contradict each other")
    if request.version == "1.0":
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
