"""The smallest application, as WSGI and as ASGI."""

from __future__ import annotations

from typing import Any


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Say hello."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, world!"]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Say hello."""
    assert scope["type"] == "http"
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"Hello, world!"})
