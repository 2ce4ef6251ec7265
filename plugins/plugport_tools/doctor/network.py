"""Checks of the network: backlogs, shared ports, IPv6, and whether a service can listen on the URLs."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from plugport.contracts import Finding
from plugport.serving import Url
from plugport_tools.doctor.deployment import Deployment, Listening

__all__ = ["addresses", "backlog", "ipv6", "reuse_port"]

_SYSCTL = Path("/proc/sys/net")
#: Bit of CAP_NET_BIND_SERVICE in a set of capabilities (linux/capability.h).
_CAP_NET_BIND_SERVICE = 10


def addresses(deployment: Deployment) -> Iterator[Finding]:
    """Whether a service can listen on the URLs, by binding; without URLs, the ports that are allowed."""
    for each in deployment.listening:
        yield _address(each)
    if not deployment.listening:
        start = _first_unprivileged_port()
        if start <= 1 or _may_bind_any_port():
            yield Finding("ok", "this process may listen on any port")
        else:
            yield Finding("ok", f"this process may listen on ports from {start} on")


def _address(listening: Listening) -> Finding:
    url, server, address, options = listening
    family = options.get("address_family", getattr(server, "address_family", None))
    if family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
        return _bound(listening, family)
    if family == getattr(socket, "AF_UNIX", -1) and isinstance(address, str):
        # A name that begins with NUL is no file's (unix(7), abstract): binding leaves nothing behind.
        return _bound(listening, family) if address.startswith("\0") else _socket_file(url, address)
    return Finding("ok", f"{url}: not looked at, for it is neither of IP nor of unix sockets")


def _bound(listening: Listening, family: int) -> Finding:
    """Bind a socket to the address as the server would, and close it."""
    url, server, address, options = listening
    try:
        with socket.socket(family, getattr(server, "socket_type", socket.SOCK_STREAM)) as probe:
            if getattr(server, "allow_reuse_address", False):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if "ipv6_only" in options:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, options["ipv6_only"])
            probe.bind(address)
    except OSError as error:
        return _refused(listening, error)
    return Finding("ok", f"{url}: can be listened on")


def _refused(listening: Listening, error: OSError) -> Finding:
    url, start = listening.url, _first_unprivileged_port()
    port = listening.address[1] if isinstance(listening.address, tuple) else start
    if error.errno in (errno.EACCES, errno.EPERM) and port < start:
        remedy = f"use a port from {start} on"
        if sys.platform == "linux":
            remedy += "; or AmbientCapabilities=CAP_NET_BIND_SERVICE in its systemd unit"
            remedy += f"; or sysctl -w net.ipv4.ip_unprivileged_port_start={port}"
        what = f"{url}: ports below {start} take a privilege that this process lacks, CAP_NET_BIND_SERVICE"
        return Finding("problem", what, remedy)
    if error.errno == errno.EADDRINUSE:
        what, remedy = "the address is in use", "stop what listens there, or choose another"
    elif error.errno == errno.EADDRNOTAVAIL:
        what = "no interface of this machine has that address"
        remedy = f"leave out the host to listen on all: {url.scheme}://:{port}"
    else:
        what, remedy = error.strerror or str(error), "see to that, or choose another address"
    return Finding("problem", f"{url}: {what}", remedy)


def _socket_file(url: Url, path: str) -> Finding:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        return Finding("problem", f"{url}: there is no folder {folder}", f"make it: mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding("problem", f"{url}: no file can be made in {folder}", "choose another folder")
    if not os.path.lexists(path):
        return Finding("ok", f"{url}: a socket file can be made")
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return Finding("problem", f"{url}: a file that is not a socket is there", "choose another name")
    # Only a connection would show whether a service listens there.
    return Finding(
        "warning",
        f"{url}: a socket file is there",
        "stop what listens there, if anything does; a file that was left behind will be replaced",
    )


def _first_unprivileged_port() -> int:
    start = _sysctl("ipv4/ip_unprivileged_port_start")
    return 1024 if start is None else start


def _may_bind_any_port() -> bool:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return not hasattr(os, "geteuid") or os.geteuid() == 0
    effective = status.partition("\nCapEff:")[2].split(maxsplit=1)[0]
    return bool(int(effective, 16) >> _CAP_NET_BIND_SERVICE & 1)


def _sysctl(name: str) -> int | None:
    try:
        return int((_SYSCTL / name).read_text())
    except (OSError, ValueError):
        return None


def backlog(deployment: Deployment) -> Iterator[Finding]:
    """Whether the system grants the servers the backlogs that they ask for."""
    limit = _sysctl("core/somaxconn")
    if limit is None:
        yield Finding("ok", "how long a backlog may be is not known on this platform")
        return
    sizes: dict[int, list[str]] = {}
    for name, server in deployment.servers():
        size = getattr(server, "request_queue_size", 0)
        if server.is_stream() and isinstance(size, int) and size > limit:
            sizes.setdefault(size, []).append(name)
    for size, names in sizes.items():
        yield Finding(
            "warning",
            f"{', '.join(names)}: asks for a backlog of {size} connections, the system grants {limit}",
            f"sysctl -w net.core.somaxconn={size}, or be content: -o request_queue_size={limit}",
        )
    if not sizes:
        yield Finding("ok", f"backlogs of up to {limit} connections, and no server asks for more")


def reuse_port(deployment: Deployment) -> Iterator[Finding]:
    """Whether processes can share a port."""
    remedy = "leave the options reuse_port and allow_reuse_port alone"
    if not hasattr(socket, "SO_REUSEPORT"):
        yield Finding("warning", "processes can't share a port: there is no SO_REUSEPORT", remedy)
        return
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError as error:
            yield Finding(
                "warning", f"processes can't share a port: SO_REUSEPORT is refused: {error}", remedy
            )
        else:
            yield Finding("ok", "processes can share a port (SO_REUSEPORT)")


def ipv6(deployment: Deployment) -> Iterator[Finding]:
    """Whether a URL without a host is served over IPv6 and IPv4."""
    what = "a URL without a host is served over"
    if socket.has_dualstack_ipv6():
        yield Finding("ok", f"{what} IPv6 and IPv4")
    elif _has_ipv6():
        remedy = "give two URLs, as tcp://0.0.0.0:9000 and 'tcp://[::]:9000'"
        yield Finding("warning", f"{what} IPv4 alone, for no socket takes both", remedy)
    else:
        remedy = "switch IPv6 on, if clients are to come by it"
        yield Finding("warning", f"{what} IPv4 alone, for there is no IPv6", remedy)


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6).close()
    except (AttributeError, OSError):
        return False
    return True
