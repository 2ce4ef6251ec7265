"""The environ of a request: what stays the same for a connection, and what each request adds."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import unquote_to_bytes

from plugport.contracts import strategy_traits

from plugport_http.engine import Request
from plugport_http.tlsinfo import tls_environ
from plugport_http.wsgi.body import NO_BODY, ErrorLog
from plugport_http.wsgi.response import FileWrapper

__all__ = ["EnvironBuilder"]

#: Names of fields and their keys, as they were seen; so many at most, for clients may make up names.
_KEYS: dict[bytes, str] = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_MAX_KEYS = 512
_PROTOCOLS = {"1.1": "HTTP/1.1", "1.0": "HTTP/1.0"}


_strategies: dict[type, dict[str, Any]] = {}


class EnvironBuilder:
    """Makes the environ of each request of a connection; what is the same for several it makes once.

    *connection*: its socket; *tls*: where there is TLS, who tells of it, as plugport_http.tlsinfo has it.
    ``errors``: the requests' wsgi.errors.
    """

    __slots__ = ("_base", "_fields", "_header", "_script_name", "errors", "last", "last_environ")

    def __init__(self, server: Any, connection: Any, tls: Any, client_address: Any, script_name: str) -> None:
        server_class = type(server)
        strategy = _strategies.get(server_class)
        if strategy is None:
            strategy = _strategies[server_class] = _strategy_environ(server_class)
        self.errors = ErrorLog()
        self._script_name = script_name
        self._base = {
            **strategy,
            **_connection_environ(connection, tls, client_address),
            "SCRIPT_NAME": script_name,
            "wsgi.input": NO_BODY,
            "wsgi.errors": self.errors,
            "wsgi.file_wrapper": FileWrapper,
        }
        self._fields: dict[bytes, bytes] | None = None
        self._header: dict[str, Any] = {}
        #: The request before, and its environ.
        self.last: Request | None = None
        self.last_environ: dict[str, Any] = {}

    def take(self, request: Request) -> dict[str, Any]:
        """Make the environ of *request*, as of one without a body, the last one; applications get a copy."""
        # The engine gives the same again, where a header comes again after another request line.
        if request.fields is not self._fields:
            self._fields = request.fields
            self._header = _header_environ(self._base, request.fields)
        self.last = request
        self.last_environ = _request_environ(self._header, request, self._script_name)
        return self.last_environ


def _strategy_environ(server_class: type) -> dict[str, Any]:
    """Return what the strategy of a server says of how the application is called."""
    traits = strategy_traits(server_class)
    return {
        "wsgi.version": (1, 0),
        "wsgi.multithread": traits.runs_in_threads("blocking"),
        "wsgi.multiprocess": traits.isolates_memory,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }


def _connection_environ(connection: Any, tls: Any, client_address: Any) -> dict[str, Any]:
    """Return what a connection has: the addresses of both ends, the scheme, and what TLS tells."""
    environ = {
        "wsgi.url_scheme": "http" if tls is None else "https",
        # A unix socket has neither; both must be there. (PEP 3333, environ Variables)
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80" if tls is None else "443",
        "REMOTE_ADDR": "",
    }
    if tls is not None:
        environ |= {"HTTPS": "on", **tls_environ(tls)}
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        name, port = connection.getsockname()[:2]
        environ.update(SERVER_NAME=_plain(name), SERVER_PORT=str(port))
    if isinstance(client_address, tuple) and len(client_address) >= 2:
        environ.update(REMOTE_ADDR=_plain(client_address[0]), REMOTE_PORT=str(client_address[1]))
    return environ


def _plain(address: str) -> str:
    """Write an IPv4 address on a dual-stack socket as the IPv4 address that it is."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def _header_environ(base: dict[str, Any], fields: dict[bytes, bytes]) -> dict[str, Any]:
    """Return *base* with the fields of a header; texts are bytes read as Latin-1."""
    environ = base.copy()
    keys = _KEYS
    for name, value in fields.items():
        key = keys.get(name)
        if key is None:
            key = _key(name)
        if key:
            environ[key] = value.decode("latin-1")
    return environ


def _request_environ(base: dict[str, Any], request: Request, script_name: str) -> dict[str, Any]:
    """Return *base*, which has the header, with what the request line says."""
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
    # An underscore would become what a hyphen becomes, and who checks the one not see the other;
    # and Proxy would be what programs take for their own setting (CVE-2016-5385).
    key = "" if b"_" in name or name == b"proxy" else "HTTP_" + name.decode().upper().replace("-", "_")
    if len(_KEYS) < _MAX_KEYS:
        _KEYS[name] = key
    return key
