"""The prelude of connections from proxies: accepts their PROXY headers, from trusted addresses only."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

from plugport.contracts import ClientAddress, StreamRequest
from plugport.errors import OptionError, PreludeError
from plugport.serving import Prelude, Steps, receiver_of
from plugport_builtins.servers.proxy_header import ProxyHeader

__all__ = ["Networks", "proxied", "trusted_networks"]

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

#: Bytes that are peeked at in one call. Most headers are shorter.
_PEEK_SIZE = 536


def trusted_networks(texts: Iterable[str]) -> Networks:
    """Return the networks of *texts*, each one or more, separated by commas. Raises OptionError."""
    networks = []
    for text in (part.strip() for joined in texts for part in joined.split(",")):
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise OptionError(
                f"option server.proxy_trusted: {text!r} is neither an address nor a network ({error}); "
                "write them as 127.0.0.1,10.0.0.0/8"
            ) from None
    if not networks:
        raise OptionError(
            "option server.proxy_protocol: no proxy is trusted, so every connection would be rejected; "
            "name the proxies with -o proxy_trusted=127.0.0.1,10.0.0.0/8"
        )
    return tuple(networks)


def proxied(trusted: Networks | None) -> Prelude:
    """Return the prelude that reads a PROXY header, from proxies in *trusted* only (None: from all)."""

    def take_header(request: StreamRequest, client_address: ClientAddress) -> Steps:
        if trusted is not None and not _is_in(client_address, trusted):
            raise PreludeError("its address is not in proxy_trusted")
        header, receive = ProxyHeader(), receiver_of(request)
        while not header.is_complete:
            try:
                data = receive(_PEEK_SIZE, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                yield 1
                continue
            if not data:
                raise PreludeError("the connection ended before the end of its PROXY header")
            size = header.receive(data)
            while size:
                size -= len(receive(size))
        return client_address if header.source is None else header.source

    return take_header


def _is_in(client_address: ClientAddress, networks: Networks) -> bool:
    assert isinstance(client_address, tuple)  # on an inet socket
    host: str = client_address[0].partition("%")[0]
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
