"""What the endpoint answers to an HTTP request, as bytes. It knows nothing of sockets and loops."""

from __future__ import annotations

import http
import http.client
import io
import logging
from collections.abc import Callable
from typing import Any

__all__ = ["FAILED", "MAX_HEAD", "TOO_LONG", "answer", "is_whole"]

logger = logging.getLogger("plugport.prometheus")

#: Bytes that the head of a request may have.
MAX_HEAD = 8192

#: A WSGI application (PEP 3333).
Application = Callable[[dict[str, Any], Callable[[str, list[tuple[str, str]]], Any]], Any]


def is_whole(head: bytes) -> bool:
    """Whether the head of a request is there to its end."""
    return b"\r\n\r\n" in head or b"\n\n" in head


def answer(head: bytes, path: str, application: Application) -> bytes:
    """Return the answer to a request whose head is *head*: what *application* has to say at *path*."""
    line, _, fields = head.partition(b"\n")
    try:
        method, target, version = line.decode("ascii").split()
        headers = http.client.parse_headers(io.BytesIO(fields))
    except (ValueError, http.client.HTTPException):
        return _simple(http.HTTPStatus.BAD_REQUEST)
    if not version.startswith("HTTP/1."):
        return _simple(http.HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    where, _, query = target.partition("?")
    if where != path:
        return _simple(http.HTTPStatus.NOT_FOUND, f"the metrics are at {path}\n")
    if method not in ("GET", "HEAD"):
        return _simple(http.HTTPStatus.METHOD_NOT_ALLOWED, headers=[("Allow", "GET, HEAD")])
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": where,
        "QUERY_STRING": query,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
    }
    begun: list[tuple[str, list[tuple[str, str]]]] = []
    try:
        body = b"".join(application(environ, lambda status, fields: begun.append((status, fields))))
    except Exception:  # of somebody's collector
        logger.exception("the metrics could not be collected")
        return FAILED
    status, answered = begun[-1]
    return _written(status, answered, body, with_body=method != "HEAD")


def _simple(status: http.HTTPStatus, text: str = "", headers: list[tuple[str, str]] | None = None) -> bytes:
    fields = [("Content-Type", "text/plain; charset=utf-8"), *(headers or [])]
    return _written(f"{status.value} {status.phrase}", fields, (text or f"{status.phrase}\n").encode())


def _written(status: str, headers: list[tuple[str, str]], body: bytes, *, with_body: bool = True) -> bytes:
    fields = [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + (body if with_body else b"")


FAILED = _simple(http.HTTPStatus.INTERNAL_SERVER_ERROR)
TOO_LONG = _simple(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
