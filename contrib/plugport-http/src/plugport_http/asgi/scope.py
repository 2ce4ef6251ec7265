"""Scopes: what an application is told of a connection, and of each request on it. (ASGI 3, HTTP 2.5)"""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import unquote

from plugport_http.engine import Request
from plugport_http.tlsinfo import tls_extension

__all__ = ["connection_scope", "http_scope", "websocket_scope"]

_ASGI = {"version": "3.0", "spec_version": "2.5"}


def connection_scope(sock: Any, tls: Any, client_address: Any, root_path: str) -> dict[str, Any]:
    """Return what all requests of a connection have in common; *sock* may be asyncio's stand-in for one.

    *tls*: where there is TLS, who tells of it, as plugport_http.tlsinfo has it; else None.
    """
    server: tuple[str, int | None] | None = None
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        name, port = sock.getsockname()[:2]
        server = (_plain(name), port)
    elif isinstance(path := sock.getsockname(), str) and path:
        server = (path, None)
    client = None
    if isinstance(client_address, tuple) and len(client_address) >= 2:
        client = (_plain(client_address[0]), client_address[1])
    return {
        "type": "http",
        "asgi": _ASGI,
        "scheme": "http" if tls is None else "https",
        "root_path": root_path,
        "client": client,
        "server": server,
        "extensions": {} if tls is None else {"tls": tls_extension(tls)},
    }


def _plain(address: str) -> str:
    """Write an IPv4 address on a dual-stack socket as the IPv4 address that it is."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def http_scope(base: dict[str, Any], request: Request, state: dict[str, Any]) -> dict[str, Any]:
    """Return the scope of a request: *base*, and what is particular to it."""
    scope = base.copy()
    raw = request.path
    path = raw.decode("ascii")
    if "%" in path:
        path = unquote(path)
    root_path = base["root_path"]
    if root_path and not (path == root_path or path.startswith(root_path + "/")):
        path = root_path + path  # whoever stands before us has taken it off
        raw = root_path.encode() + raw
    scope["http_version"] = request.version
    scope["method"] = request.method
    scope["path"] = path
    scope["raw_path"] = raw
    scope["query_string"] = request.query
    scope["headers"] = request.headers.copy()  # it is the application's from now on
    scope["state"] = state.copy()
    extensions = base["extensions"]
    scope["extensions"] = {"tls": extensions["tls"].copy()} if extensions else {}
    return scope


def websocket_scope(base: dict[str, Any], request: Request, state: dict[str, Any]) -> dict[str, Any]:
    """Return the scope of a WebSocket."""
    scope = http_scope(base, request, state)
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if base["scheme"] == "https" else "ws"
    offered = request.fields.get(b"sec-websocket-protocol", b"").decode("latin-1")
    scope["subprotocols"] = [name for part in offered.split(",") if (name := part.strip())]
    scope["extensions"]["websocket.http.response"] = {}
    return scope
