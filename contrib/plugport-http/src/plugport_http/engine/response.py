"""ResponseHead: the head of a response, made once and sent many times; the Date field; error responses."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from time import time

from plugport_http.engine.errors import ResponseError

__all__ = ["ResponseHead", "date_line", "error_head"]

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_STATUS_LINES = {code: b"HTTP/1.1 %d %b\r\n" % (code, phrase) for code, phrase in _PHRASES.items()}
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PLAIN = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
#: Fields that the engine inspects.
_SPECIAL = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date", b"server"})


class ResponseHead:
    """The head of a response without the fields that the engine adds: Date, Server and Connection.

    It can be sent any number of times. ``content_length`` is None if the header has no Content-Length;
    ``close`` means "Connection: close". Transfer-Encoding and other values of Connection are dropped, because
    the engine sets them. Raises ResponseError if a status or field is invalid.
    """

    __slots__ = (
        "block",
        "bodiless",
        "close",
        "completed",
        "content_length",
        "has_date",
        "has_server",
        "plain",
        "status",
    )

    def __init__(
        self, status: int, headers: Iterable[tuple[bytes, bytes]] = (), *, reason: bytes | None = None
    ) -> None:
        self.status = status
        self.content_length: int | None = None
        self.close = self.has_date = self.has_server = False
        #: Whether responses with this status have no body, whatever the method. (RFC 9110, 6.4.1)
        self.bodiless = status == 204 or status == 304 or status < 200
        lines = [_status_line(status, reason)]
        names = []
        for name, value in headers:
            lower = name.lower()
            names.append(lower)
            if lower in _SPECIAL and not self._inspect_field(lower, value):
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        #: The status line and the fields, each with its CRLF.
        self.block = b"".join(lines)
        if self.block.translate(None, _PLAIN) != b"\r\n" * len(lines):
            raise ResponseError("the head of the response has a control character")
        #: Whether the engine adds only Date and Server, and the body has a known length.
        self.plain = not (
            self.close or self.has_date or self.has_server or self.bodiless or self.content_length is None
        )
        #: (valid from, valid until, server line, whole head): the last result of complete().
        self.completed = (0.0, 0.0, b"", b"")
        if not all(names) or b"".join(names).translate(None, _TOKEN):
            raise ResponseError("the response has a field with a malformed name")

    def complete(self, server_line: bytes) -> bytes:
        """Return the whole head for a ``plain`` head on a connection that is kept open.

        The result is kept in ``completed`` for the current second; look there first.
        """
        second = int(time())
        block = b"%b%b%b\r\n" % (self.block, date_line(second), server_line)
        # One assignment, because threads share it.
        self.completed = (float(second), second + 1.0, server_line, block)
        return block

    def _inspect_field(self, name: bytes, value: bytes) -> bool:
        """Record a field that concerns the engine; return whether it is part of the head."""
        if name == b"content-length":
            if not value.isdigit() or self.content_length is not None:
                raise ResponseError(f"the Content-Length {value!r} of the response is malformed")
            self.content_length = int(value)
            return not (self.status == 204 or self.status < 200)
        if name == b"date":
            self.has_date = True
            return True
        if name == b"server":
            self.has_server = True
            return True
        if name == b"connection" and b"close" in value.lower():
            self.close = True
        return False


def _status_line(status: int, reason: bytes | None) -> bytes:
    if not 100 <= status <= 999:
        raise ResponseError(f"the status {status} is not between 100 and 999")
    if reason is None:
        return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return b"HTTP/1.1 %d %b\r\n" % (status, reason)


_date = (0, b"")


def date_line(second: int | None = None) -> bytes:
    """Return the Date field with its CRLF for *second*, since the epoch (None: now)."""
    global _date
    now = int(time()) if second is None else second
    cached, line = _date
    if cached != now:
        line = b"date: %b\r\n" % formatdate(now, usegmt=True).encode()
        _date = (now, line)  # one assignment, because threads share it
    return line


def error_head(
    status: int, headers: Iterable[tuple[bytes, bytes]] = (), *, detail: str = ""
) -> tuple[ResponseHead, bytes]:
    """Return the head and the body of an error response: one line of plain text."""
    phrase = _PHRASES.get(status, b"")
    body = b"%d %b%b\n" % (status, phrase, f": {detail}".encode() if detail else b"")
    head = ResponseHead(
        status,
        [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            *headers,
        ],
    )
    return head, body
