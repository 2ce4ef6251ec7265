"""URLs of listening sockets: parsed, resolved into socket addresses, and formatted."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass

from plugport.contracts.interfaces import ClientAddress, ServerAddress
from plugport.errors import AddressError

__all__ = ["MAX_UNIX_PATH", "Url", "format_client", "format_url", "parse_url", "resolve_url"]

#: Bytes that sun_path takes, the closing NUL not counted (unix(7): 108 on Linux, 104 on the BSDs).
MAX_UNIX_PATH = 107 if sys.platform == "linux" else 103


@dataclass(frozen=True, slots=True)
class Url:
    """A URL split after its scheme: ``tcp://127.0.0.1:9000`` has the rest ``127.0.0.1:9000``."""

    scheme: str
    rest: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.rest}"


def parse_url(text: str) -> Url:
    """Split *text* into scheme and rest. Raises AddressError if it is not ``scheme://rest``."""
    scheme, separator, rest = text.partition("://")
    if not separator or not scheme:
        raise AddressError(f"{text!r} is not a URL; write SERVER://ADDRESS, as tcp://127.0.0.1:9000")
    return Url(scheme, rest)


def resolve_url(url: Url, family: int, stream: bool) -> tuple[ServerAddress, dict[str, object]]:
    """Return the socket address of *url*, and the class attributes of the server that it implies.

    *family* is the server class's address_family. Hosts are looked up; an empty host means all interfaces, by
    IPv6 and IPv4 where the system can listen on both at once. Raises AddressError.
    """
    if family == getattr(socket, "AF_UNIX", None):
        return _unix_address(url), {}
    host, port = _host_and_port(url)
    if not host:
        dual = socket.has_dualstack_ipv6()
        host = "::" if dual else "0.0.0.0"
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    try:
        found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AddressError(f"{url}: no address for host {host!r}: {reason}") from None
    chosen, _, _, _, address = found[0]
    members: dict[str, object] = {"address_family": chosen}
    if chosen == socket.AF_INET6 and address[0] == "::":
        members["ipv6_only"] = False
    return address, members


def _host_and_port(url: Url) -> tuple[str, int]:
    example = f"{url.scheme}://127.0.0.1:9000"
    if set(url.rest) & set("/?#"):
        raise AddressError(
            f"{url}: a path or a query has no place in it; write {example}, and options with -o"
        )
    host, colon, port = url.rest.rpartition(":")
    if not colon or "]" in port:
        raise AddressError(f"{url} has no port; write {example}, with port 0 for any free one")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError(f"{url}: an IPv6 address goes in brackets, as {url.scheme}://[::1]:9000")
    elif set(host) & set("/@[]?#"):
        raise AddressError(f"{url} is not {url.scheme}://HOST:PORT")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise AddressError(f"{url}: the port must be a number from 0 to 65535, as in {example}")
    return host, int(port)


def _unix_address(url: Url) -> str:
    path = url.rest
    if path.startswith("@"):
        path = "\0" + path[1:]
        if len(path) == 1:
            raise AddressError(f"{url} has no name after '@'")
    elif not path or path.endswith("/"):
        raise AddressError(f"{url} has no path; write {url.scheme}:///run/NAME.sock or {url.scheme}://@NAME")
    if "\0" in path[1:]:
        raise AddressError(f"{str(url)!r}: a path can't hold a NUL")
    if len(os.fsencode(path)) > MAX_UNIX_PATH:
        raise AddressError(f"{url}: the path is longer than the {MAX_UNIX_PATH} bytes a socket address holds")
    return path


def format_url(scheme: str, address: ServerAddress | None) -> str:
    """Return *address*, as getsockname() gives it, as a URL."""
    if isinstance(address, bytes):
        address = os.fsdecode(address)
    if isinstance(address, str):
        rest = "@" + address[1:] if address.startswith("\0") else address
    elif isinstance(address, tuple) and len(address) >= 2:
        host, port = address[:2]
        rest = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    else:
        rest = str(address)
    return f"{scheme}://{rest}"


def format_client(address: ClientAddress) -> str:
    """Return the address of a client for a log: ``127.0.0.1:9000``, a path, ``-`` for one without a name."""
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    name = str(address) if address else "-"
    return name if name.isprintable() else ascii(name)  # the client has chosen it
