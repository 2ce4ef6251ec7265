"""The scopes of requests and WebSockets. (ASGI 3.0, HTTP and WebSocket 2.5)"""

from __future__ import annotations

import socket
from urllib.parse import unquote

from plugport.contracts import ClientAddress

from plugport_http.asgi.interface import Scope, State
from plugport_http.engine import Request
from plugport_http.tlsinfo import TLSConnection, tls_extension

__all__ = ["connection_scope", "http_scope", "websocket_scope"]

_ASGI = {"version": "3.0", "spec_version": "2.5"}


def connection_scope(
    sock: socket.socket, tls: TLSConnection | None, client_address: ClientAddress, root_path: str
) -> Scope:
    """Return the part of the scope that all requests of a connection share; *tls* is None without TLS."""
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
    """Return the IPv4 address of an IPv4-mapped IPv6 address, and others unchanged. (RFC 4291, 2.5.5.2)"""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def http_scope(base: Scope, request: Request, state: State) -> Scope:
    """Return the scope of a request on the connection that *base* is the scope of."""
    scope = base.copy()
    raw = request.path
    path = raw.decode("ascii")
    if "%" in path:
        path = unquote(path)
    root_path = base["root_path"]
    if root_path and not (path == root_path or path.startswith(root_path + "/")):
        path = root_path + path  # a proxy has removed the prefix
        raw = root_path.encode() + raw
    scope["http_version"] = request.version
    scope["method"] = request.method
    scope["path"] = path
    scope["raw_path"] = raw
    scope["query_string"] = request.query
    scope["headers"] = request.headers.copy()  # the application may change it
    scope["state"] = state.copy()
    extensions = base["extensions"]
    scope["extensions"] = {"tls": extensions["tls"].copy()} if extensions else {}
    return scope


def websocket_scope(base: Scope, request: Request, state: State) -> Scope:
    """Return the scope of a WebSocket on the connection that *base* is the scope of."""
    scope = http_scope(base, request, state)
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if base["scheme"] == "https" else "ws"
    offered = request.fields.get(b"sec-websocket-protocol", b"").decode("latin-1")
    scope["subprotocols"] = [name for part in offered.split(",") if (name := part.strip())]
    scope["extensions"]["websocket.http.response"] = {}
    return scope
