"""HTTP responses of the endpoint, as bytes. Sockets and loops are in plugport_prometheus.endpoint."""

from __future__ import annotations

import http
import http.client
import io
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

__all__ = ["FAILED", "MAX_HEAD", "TOO_LONG", "answer", "is_complete"]

logger = logging.getLogger("plugport.prometheus")

#: The longest head of a request, in bytes.
MAX_HEAD = 8192

_Fields = list[tuple[str, str]]


def is_complete(head: bytes) -> bool:
    """Return whether the head of a request has been received to its end."""
    return b"\r\n\r\n" in head or b"\n\n" in head


def answer(head: bytes, path: str, application: WSGIApplication) -> bytes:
    """Return the response to the request *head*: that of *application* if the request is for *path*."""
    line, _, fields = head.partition(b"\n")
    try:
        method, target, version = line.decode("ascii").split()
        headers = http.client.parse_headers(io.BytesIO(fields))
    except (ValueError, http.client.HTTPException):
        return _simple(http.HTTPStatus.BAD_REQUEST)
    if not version.startswith("HTTP/1."):
        return _simple(http.HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    location, _, query = target.partition("?")
    if location != path:
        return _simple(http.HTTPStatus.NOT_FOUND, f"the metrics are at {path}\n")
    if method not in ("GET", "HEAD"):
        return _simple(http.HTTPStatus.METHOD_NOT_ALLOWED, headers=[("Allow", "GET, HEAD")])
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": location,
        "QUERY_STRING": query,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
    }
    started: list[tuple[str, _Fields]] = []

    def start_response(status: str, fields: _Fields, exc_info: object = None) -> Callable[[bytes], object]:
        started.append((status, fields))
        return _write

    try:
        body = b"".join(application(environ, start_response))
    except Exception:  # a collector of a handler raised, for example
        logger.exception("the metrics could not be collected")
        return FAILED
    status, response_fields = started[-1]
    return _response(status, response_fields, body, with_body=method != "HEAD")


def _write(data: bytes) -> None:
    raise NotImplementedError("the application must return its body (PEP 3333 deprecates write())")


def _simple(status: http.HTTPStatus, text: str = "", headers: _Fields | None = None) -> bytes:
    fields = [("Content-Type", "text/plain; charset=utf-8"), *(headers or [])]
    return _response(f"{status.value} {status.phrase}", fields, (text or f"{status.phrase}\n").encode())


def _response(status: str, headers: _Fields, body: bytes, *, with_body: bool = True) -> bytes:
    fields = [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + (body if with_body else b"")


FAILED = _simple(http.HTTPStatus.INTERNAL_SERVER_ERROR)
TOO_LONG = _simple(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
