"""Heads of responses: ResponseHead, prepared once and sent often; the lines that change each second."""

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
#: Fields that the engine has to know of.
_SPECIAL = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date", b"server"})


class ResponseHead:
    """The head of a response without what differs from one sending to the next: Date and Connection.

    It may be sent any number of times. ``status``; ``content_length``: None where the header names
    none; ``close``: the header has "Connection: close". Transfer-Encoding and other values of
    Connection are dropped: they are the engine's. Raises ResponseError for what can't be in a head.
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
        #: Responses of this status have no body, whatever the method was. (RFC 9110, 6.4.1)
        self.bodiless = status == 204 or status == 304 or status < 200
        lines = [_status_line(status, reason)]
        names = []
        for name, value in headers:
            lower = name.lower()
            names.append(lower)
            if lower in _SPECIAL and not self._note(lower, value):
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        #: Status line and fields, each with its CRLF.
        self.block = b"".join(lines)
        if self.block.translate(None, _PLAIN) != b"\r\n" * len(lines):
            raise ResponseError("a control character is in the head of the response")
        #: The engine adds Date and Server, and its Content-Length is that of its body.
        self.plain = not (
            self.close or self.has_date or self.has_server or self.bodiless or self.content_length is None
        )
        #: From when until when what complete() has returned holds, for which server line, and that.
        self.completed = (0.0, 0.0, b"", b"")
        if not all(names) or b"".join(names).translate(None, _TOKEN):
            raise ResponseError("the name of a field in the response is malformed")

    def complete(self, server_line: bytes) -> bytes:
        """Make the whole head where it is ``plain``, as most are, and the connection stays.

        It is in ``completed``, too, which is to be looked at first.
        """
        second = int(time())
        block = b"%b%b%b\r\n" % (self.block, date_line(second), server_line)
        # At once: threads may meet here.
        self.completed = (float(second), second + 1.0, server_line, block)
        return block

    def _note(self, name: bytes, value: bytes) -> bool:
        """Take note of a field that the engine has to know of; return whether it is sent as it is."""
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
        raise ResponseError(f"{status} is no status")
    if reason is None:
        return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return b"HTTP/1.1 %d %b\r\n" % (status, reason)


_date = (0, b"")


def date_line(second: int | None = None) -> bytes:
    """Return the field Date, with its CRLF, for now or that second: made once for each."""
    global _date
    now = int(time()) if second is None else second
    known, line = _date
    if known != now:
        line = b"date: %b\r\n" % formatdate(now, usegmt=True).encode()
        _date = (now, line)  # at once: threads may meet here
    return line


def error_head(
    status: int, headers: Iterable[tuple[bytes, bytes]] = (), *, detail: str = ""
) -> tuple[ResponseHead, bytes]:
    """Return head and body of an error: plain text, of one line."""
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
