"""EnvironBuilder: makes the environ of each request, and reuses the parts that stay the same."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from plugport.contracts import ClientAddress, Server, StreamRequest, strategy_traits

from plugport_http.engine import Request
from plugport_http.tlsinfo import TLSConnection, tls_environ
from plugport_http.wsgi.body import NO_BODY, ErrorLog
from plugport_http.wsgi.response import FileWrapper

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

__all__ = ["EnvironBuilder"]

#: Field names and their environ keys: a cache of limited size, because clients may invent names.
_KEYS: dict[bytes, str] = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_MAX_KEYS = 512
_PROTOCOLS = {"1.1": "HTTP/1.1", "1.0": "HTTP/1.0"}

#: The variables that depend on the strategy, by server class.
_strategies: dict[type, dict[str, Any]] = {}


class EnvironBuilder:
    """Makes the environ of each request of a connection; *tls* is None without TLS.

    ``errors`` is the wsgi.errors of all requests.
    """

    __slots__ = ("_base", "_fields", "_header", "_script_name", "errors", "last", "last_environ")

    def __init__(
        self,
        server: Server,
        sock: StreamRequest,
        tls: TLSConnection | None,
        client_address: ClientAddress,
        script_name: str,
    ) -> None:
        server_class = type(server)
        strategy = _strategies.get(server_class)
        if strategy is None:
            strategy = _strategies[server_class] = _strategy_environ(server_class)
        self.errors = ErrorLog()
        self._script_name = script_name
        self._base = {
            **strategy,
            **_connection_environ(sock, tls, client_address),
            "SCRIPT_NAME": script_name,
            "wsgi.input": NO_BODY,
            "wsgi.errors": self.errors,
            "wsgi.file_wrapper": FileWrapper,
        }
        self._fields: dict[bytes, bytes] | None = None
        self._header: WSGIEnvironment = {}
        #: The last request, and its environ.
        self.last: Request | None = None
        self.last_environ: WSGIEnvironment = {}

    def build(self, request: Request) -> WSGIEnvironment:
        """Return the environ of *request*, with an empty wsgi.input; pass a copy of it to the application."""
        # The engine returns the same object for a repeated header, even after another request line.
        if request.fields is not self._fields:
            self._fields = request.fields
            self._header = _header_environ(self._base, request.fields)
        self.last = request
        self.last_environ = _request_environ(self._header, request, self._script_name)
        return self.last_environ


def _strategy_environ(server_class: type) -> WSGIEnvironment:
    """Return the variables that tell how the application is called."""
    traits = strategy_traits(server_class)
    return {
        "wsgi.version": (1, 0),
        "wsgi.multithread": traits.runs_in_threads("blocking"),
        "wsgi.multiprocess": traits.isolates_memory,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }


def _connection_environ(
    sock: StreamRequest, tls: TLSConnection | None, client_address: ClientAddress
) -> WSGIEnvironment:
    """Return the variables of a connection: both addresses, the scheme, TLS."""
    environ = {
        "wsgi.url_scheme": "http" if tls is None else "https",
        # Required also for unix sockets, which have neither. (PEP 3333, environ Variables)
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80" if tls is None else "443",
        "REMOTE_ADDR": "",
    }
    if tls is not None:
        environ |= {"HTTPS": "on", **tls_environ(tls)}
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        name, port = sock.getsockname()[:2]
        environ.update(SERVER_NAME=_plain(name), SERVER_PORT=str(port))
    if isinstance(client_address, tuple) and len(client_address) >= 2:
        environ.update(REMOTE_ADDR=_plain(client_address[0]), REMOTE_PORT=str(client_address[1]))
    return environ


def _plain(address: str) -> str:
    """Return the IPv4 address of an IPv4-mapped IPv6 address, and others unchanged. (RFC 4291, 2.5.5.2)"""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def _header_environ(base: WSGIEnvironment, fields: dict[bytes, bytes]) -> WSGIEnvironment:
    """Return *base* with header fields, decoded as Latin-1."""
    environ = base.copy()
    keys = _KEYS
    for name, value in fields.items():
        key = keys.get(name)
        if key is None:
            key = _key(name)
        if key:
            environ[key] = value.decode("latin-1")
    return environ


def _request_environ(base: WSGIEnvironment, request: Request, script_name: str) -> WSGIEnvironment:
    """Return *base*, which has the header fields, with the variables of the request line."""
    environ = base.copy()
    path = request.path
    text = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
    if script_name and (text == script_name or text.startswith(script_name + "/")):
        text = text[len(script_name) :]
    environ["REQUEST_METHOD"] = request.method
    environ["PATH_INFO"] = "" if text == "*" else text
    environ["QUERY_STRING"] = request.query.decode("latin-1")
    environ["REQUEST_URI"] = request.target.decode("latin-1")
    environ["SERVER_PROTOCOL"] = _PROTOCOLS[request.version]
    return environ


def _key(name: bytes) -> str:
    # Underscores are dropped because they would become the same key as hyphens, so that a client could
    # bypass a proxy's check of a field. Proxy: CVE-2016-5385.
    key = "" if b"_" in name or name == b"proxy" else "HTTP_" + name.decode().upper().replace("-", "_")
    if len(_KEYS) < _MAX_KEYS:
        _KEYS[name] = key
    return key
