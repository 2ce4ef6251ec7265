"""Exchange: calls of a WSGI application, and the responses that come of them. (PEP 3333)"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from plugport_http.engine import Request, ResponseError, ResponseHead, ServerConnection

__all__ = ["Exchange", "FileWrapper"]

ExcInfo = tuple[type[BaseException], BaseException, TracebackType]

#: Heads that were sent before, by what the application gave: most applications have few.
_HEADS: dict[tuple[Any, ...], ResponseHead] = {}
_MAX_HEADS = 256
#: Bytes of a file below which it is read and sent with the head, above by the kernel.
_SMALL_FILE = 65536


class FileWrapper:
    """wsgi.file_wrapper: a file as an iterable of its blocks, sent by the kernel where that can be."""

    def __init__(self, filelike: Any, block_size: int = 65536) -> None:
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.filelike.read(self.block_size), b"")


class Exchange:
    """Calls the application for one request after the other, and sends what it answers with.

    ``link``: what it sends by, a Link or what does the same.
    """

    __slots__ = (
        "_application",
        "_headers",
        "_http",
        "_last",
        "_request",
        "_status",
        "link",
    )

    _request: Request

    def __init__(self, application: Callable[..., Any], http: ServerConnection, link: Any) -> None:
        self._application = application
        self._http = http
        self.link = link
        self._status: str | None = None
        self._headers: list[tuple[str, str]] = []
        #: Size, status, header and head of the last whole response.
        self._last: tuple[int, str | None, list[tuple[str, str]], Any] = (-1, None, [], None)

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None, /
    ) -> Callable[[bytes], None]:
        """Keep status and headers until there is something to send; see PEP 3333."""
        if exc_info is not None:
            try:
                if self._http.response_started:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # it holds this frame
        elif self._status is not None:
            raise RuntimeError("start_response() was called before, and without exc_info")
        self._status, self._headers = status, headers
        return self.write

    def write(self, data: bytes) -> None:
        """Send *data* now, the head before it."""
        if not isinstance(data, bytes):
            raise TypeError(f"a body is made of bytes, not of {type(data).__name__}")
        http = self._http
        if http.response_started:
            piece = http.send_body(data)
        else:
            head = self._make_head()
            _check_length(head, len(data))
            piece = http.start_response(head)
            if data:
                piece += http.send_body(data)
        if piece:
            self.link.send(piece)

    def respond(self, environ: dict[str, Any], request: Request) -> None:
        """Call the application for *request*, and send its response.

        Raises what the application raises, TypeError, ValueError and RuntimeError for what it may
        not do, ResponseError, and what the link raises.
        """
        self._request = request
        self._status = None
        result = self._application(environ, self.start_response)
        kind = type(result)
        if (kind is not list and kind is not tuple) or self._http.response_started:
            self._send_result(result)
            return
        # As most are, all at once; these have no close().
        body = result[0] if len(result) == 1 else b"".join(result)
        if type(body) is not bytes:
            raise TypeError(f"a body is made of bytes, not of {type(body).__name__}")
        size = len(body)
        of_size, of_status, of_headers, head = self._last
        if size != of_size or self._status != of_status or self._headers != of_headers:
            head = self._head_of_whole(size)
        whole = self._http.send(head, body)
        del result, body  # a large response that the client does not take is there once
        self.link.send(whole)

    def _head_of_whole(self, size: int) -> ResponseHead:
        """Return the head of a response whose body is there, and has *size* bytes."""
        # Of HEAD it is not known how long the body would have been, if there is none.
        is_head = self._request.method == "HEAD"
        head = self._make_head(None if not size and is_head else size)
        if head.content_length != size:
            if not head.bodiless and not is_head:
                raise ResponseError(f"Content-Length is {head.content_length}, and the body has {size} bytes")
        elif size and all(type(field) is tuple for field in self._headers):
            # The application may change its list; what is in that can't be changed.
            self._last = (size, self._status, list(self._headers), head)
        return head

    def _send_result(self, result: Iterable[bytes]) -> None:
        """Send what the application has returned, and call its close()."""
        try:
            if type(result) is not FileWrapper or not self._send_file(result.filelike):
                self._send_pieces(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _send_pieces(self, pieces: Iterable[bytes]) -> None:
        http = self._http
        for piece in pieces:
            if piece or not isinstance(piece, bytes):
                self.write(piece)
                if not http.has_response_body:
                    break  # of HEAD, say
        start = b""
        if not http.response_started:
            # Of HEAD it is not known how long the body would have been.
            head = self._make_head(None if self._request.method == "HEAD" else 0)
            _check_length(head, 0)
            start = http.start_response(head)
        end = start + http.end_response()
        if end:
            self.link.send(end)

    def _send_file(self, file: Any) -> bool:
        """Send a file by its descriptor; return whether that could be."""
        http = self._http
        if http.response_started:
            return False
        try:
            info = os.fstat(file.fileno())
            offset = file.tell()
        except (AttributeError, OSError, ValueError):
            return False  # no file of the system's
        size = info.st_size - offset
        if not stat.S_ISREG(info.st_mode) or size <= _SMALL_FILE or "b" not in getattr(file, "mode", "b"):
            return False
        head = self._make_head(size)
        count = size if head.content_length is None else min(size, head.content_length)
        self.link.send(http.start_response(head))
        if http.count_body(count if http.has_response_body else 0) and count:
            sent = self.link.send_file(file, offset, count)
            if sent != count:
                http.keep_alive = False
                raise ResponseError(f"the file has become {count - sent} bytes shorter")
        http.end_response()
        return True

    def _make_head(self, length: int | None = None) -> ResponseHead:
        """Return the head of start_response(), with a Content-Length of *length* if it has none."""
        status, headers = self._status, self._headers
        if status is None:
            raise RuntimeError("the application did not call start_response()")
        try:
            key = (status, length, *headers)
            head = _HEADS.get(key)
        except TypeError:
            head = key = None
        if head is None:
            head = _new_head(status, headers, length)
            if key is not None:
                if len(_HEADS) >= _MAX_HEADS:
                    _HEADS.clear()
                _HEADS[key] = head
        return head


def _check_length(head: ResponseHead, size: int) -> None:
    if head.content_length is not None and size > head.content_length and not head.bodiless:
        raise ResponseError(f"Content-Length is {head.content_length}, and the body is longer")


def _new_head(status: str, headers: list[tuple[str, str]], length: int | None) -> ResponseHead:
    if not isinstance(status, str):
        raise TypeError(f"the status is a str like '200 OK', not {type(status).__name__}")
    if len(status) < 4 or not status[:3].isdecimal() or status[3] != " ":
        raise ValueError(f"the status {status!r} is not three digits, a space and a reason")
    if not isinstance(headers, list):
        raise TypeError(f"the headers are a list of pairs, not {type(headers).__name__}")
    fields = []
    for field in headers:
        try:
            name, value = field
            fields.append((name.encode("latin-1"), value.encode("latin-1")))
        except (AttributeError, TypeError, ValueError) as error:
            raise TypeError(f"the header {field!r} is no pair of str, of Latin-1 each") from error
    code = int(status[:3])
    if code < 200:
        raise ValueError(f"the status {status!r} ends no request")
    head = ResponseHead(code, fields, reason=status[4:].encode("latin-1"))
    if head.content_length is None and length is not None and not head.bodiless:
        fields.append((b"content-length", b"%d" % length))
        head = ResponseHead(code, fields, reason=status[4:].encode("latin-1"))
    return head
