"""Exchange: calls a WSGI application for requests, and sends its responses. (PEP 3333)"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from plugport_http.engine import Request, ResponseError, ResponseHead, ServerConnection
from plugport_http.wsgi.interface import Sender

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

__all__ = ["Exchange", "FileWrapper"]

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

#: Cached heads by status, length and headers: most applications send few different ones.
_HEADS: dict[tuple[object, ...], ResponseHead] = {}
_MAX_HEADS = 256
#: Bytes of the largest file that is read and sent like other bodies; larger ones are sent by sendfile(2).
_SMALL_FILE = 65536


class FileWrapper:
    """wsgi.file_wrapper: a file as an iterable of its blocks, sent by sendfile(2) if possible."""

    def __init__(self, filelike: BinaryIO, block_size: int = 65536) -> None:
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.filelike.read(self.block_size), b"")


class Exchange:
    """Calls the application for the requests of a connection, and sends the responses to ``sender``."""

    __slots__ = (
        "_application",
        "_headers",
        "_http",
        "_last",
        "_request",
        "_status",
        "sender",
    )

    _request: Request

    def __init__(self, application: WSGIApplication, http: ServerConnection, sender: Sender) -> None:
        self._application = application
        self._http = http
        self.sender = sender
        self._status: str | None = None
        self._headers: list[tuple[str, str]] = []
        #: Size, status, headers and head of the last whole response.
        self._last: tuple[int, str | None, list[tuple[str, str]], ResponseHead] = (-1, None, [], _NO_HEAD)

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None, /
    ) -> Callable[[bytes], None]:
        """Store status and headers until there is data to send. (PEP 3333, The start_response() Callable)"""
        if exc_info is not None:
            try:
                if self._http.response_started and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # breaks a reference cycle: the traceback has this frame
        elif self._status is not None:
            raise RuntimeError("start_response() was called again without exc_info")
        self._status, self._headers = status, headers
        return self.write

    def write(self, data: bytes) -> None:
        """Send *data* at once, with the head before it."""
        if not isinstance(data, bytes):
            raise TypeError(f"the body must be bytes, not {type(data).__name__}")
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
            self.sender.send(piece)

    def respond(self, environ: WSGIEnvironment, request: Request) -> None:
        """Call the application for *request*, and send its response.

        Raises the exceptions of the application and the sender; TypeError, ValueError and RuntimeError if
        the application violates PEP 3333; ResponseError.
        """
        self._request = request
        self._status = None
        result = self._application(environ, self.start_response)
        if not (type(result) is list or type(result) is tuple) or self._http.response_started:
            self._send_result(result)
            return
        # The fast way, for most responses: a list is complete, and has no close().
        body = result[0] if len(result) == 1 else b"".join(result)
        if type(body) is not bytes:
            raise TypeError(f"the body must be bytes, not {type(body).__name__}")
        size = len(body)
        of_size, of_status, of_headers, head = self._last
        if size != of_size or self._status != of_status or self._headers != of_headers:
            head = self._make_whole_head(size)
        whole = self._http.send(head, body)
        del result, body  # keep one copy only while the client takes a large response
        self.sender.send(whole)

    def _make_whole_head(self, size: int) -> ResponseHead:
        """Return the head of a response with a complete body of *size* bytes."""
        # An empty body in reply to HEAD does not tell the length of the body in reply to GET.
        is_head = self._request.method == "HEAD"
        head = self._make_head(None if not size and is_head else size)
        if head.content_length != size:
            if not head.bodiless and not is_head:
                raise ResponseError(f"Content-Length is {head.content_length}, and the body has {size} bytes")
        elif size and all(type(field) is tuple for field in self._headers):
            # Copied because the application may change the list; the tuples in it are immutable.
            self._last = (size, self._status, list(self._headers), head)
        return head

    def _send_result(self, result: Iterable[bytes]) -> None:
        """Send the iterable that the application has returned, and call its close()."""
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
                    break  # in reply to HEAD, for example
        start = b""
        if not http.response_started:
            # An empty body in reply to HEAD does not tell the length of the body in reply to GET.
            head = self._make_head(None if self._request.method == "HEAD" else 0)
            _check_length(head, 0)
            start = http.start_response(head)
        end = start + http.end_response()
        if end:
            self.sender.send(end)

    def _send_file(self, file: BinaryIO) -> bool:
        """Send a file by its descriptor; return False if that is not possible."""
        http = self._http
        if http.response_started:
            return False
        try:
            info = os.fstat(file.fileno())
            offset = file.tell()
        except (AttributeError, OSError, ValueError):
            return False  # not a file of the system
        size = info.st_size - offset
        if not stat.S_ISREG(info.st_mode) or size <= _SMALL_FILE or "b" not in getattr(file, "mode", "b"):
            return False
        head = self._make_head(size)
        count = size if head.content_length is None else min(size, head.content_length)
        self.sender.send(http.start_response(head))
        if http.count_body(count if http.has_response_body else 0) and count:
            sent = self.sender.send_file(file, offset, count)
            if sent != count:
                http.keep_alive = False
                raise ResponseError(f"the file became {count - sent} bytes shorter while it was sent")
        http.end_response()
        return True

    def _make_head(self, length: int | None = None) -> ResponseHead:
        """Return the head for start_response(), with *length* for a missing Content-Length."""
        status, headers = self._status, self._headers
        if status is None:
            raise RuntimeError("the application did not call start_response()")
        try:
            key = (status, length, *headers)
            head = _HEADS.get(key)
        except TypeError:
            head = key = None  # a header is not hashable; _new_head() checks it
        if head is None:
            head = _new_head(status, headers, length)
            if key is not None:
                if len(_HEADS) >= _MAX_HEADS:
                    _HEADS.clear()
                _HEADS[key] = head
        return head


#: Stands for the head of the last response before there is one.
_NO_HEAD = ResponseHead(500)


def _check_length(head: ResponseHead, size: int) -> None:
    if head.content_length is not None and size > head.content_length and not head.bodiless:
        raise ResponseError(f"Content-Length is {head.content_length}, and the body is longer")


def _new_head(status: str, headers: list[tuple[str, str]], length: int | None) -> ResponseHead:
    if not isinstance(status, str):
        raise TypeError(f"the status must be a str like '200 OK', not {type(status).__name__}")
    if len(status) < 4 or not status[:3].isdecimal() or status[3] != " ":
        raise ValueError(f"the status {status!r} is not three digits, a space and a reason")
    if not isinstance(headers, list):
        raise TypeError(f"the headers must be a list of pairs, not {type(headers).__name__}")
    fields = []
    for field in headers:
        try:
            name, value = field
            fields.append((name.encode("latin-1"), value.encode("latin-1")))
        except (AttributeError, TypeError, ValueError) as error:
            raise TypeError(f"the header {field!r} is not a pair of Latin-1 strings") from error
    code = int(status[:3])
    if code < 200:
        raise ValueError(f"the status {status!r} is not final; it must be 200 or more")
    head = ResponseHead(code, fields, reason=status[4:].encode("latin-1"))
    if head.content_length is None and length is not None and not head.bodiless:
        fields.append((b"content-length", b"%d" % length))
        head = ResponseHead(code, fields, reason=status[4:].encode("latin-1"))
    return head
