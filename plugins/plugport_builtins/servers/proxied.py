"""The prelude of connections that come through a proxy: who is believed, and what it says of its client."""

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

#: Bytes looked at in one go. Most headers are shorter.
_LOOK = 536


def trusted_networks(texts: Iterable[str]) -> Networks:
    """Read addresses and networks; commas may part them, too. Raises OptionError."""
    networks = []
    for text in (each.strip() for word in texts for each in word.split(",")):
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise OptionError(
                f"option server.proxy_trusted: {text!r} is no address and no network ({error}); "
                "write them as 127.0.0.1,10.0.0.0/8"
            ) from None
    if not networks:
        raise OptionError(
            "option server.proxy_protocol: no proxy is trusted, so that nobody could be served; "
            "say who is by -o proxy_trusted=127.0.0.1,10.0.0.0/8"
        )
    return tuple(networks)


def proxied(trusted: Networks | None) -> Prelude:
    """Return the prelude that takes a PROXY header, of proxies in *trusted* alone (None: of all)."""

    def take_header(request: StreamRequest, client_address: ClientAddress) -> Steps:
        if trusted is not None and not _is_among(client_address, trusted):
            raise PreludeError("it is not among those that proxy_trusted names")
        header, receive = ProxyHeader(), receiver_of(request)
        while not header.is_complete:
            try:
                data = receive(_LOOK, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                yield 1
                continue
            if not data:
                raise PreludeError("it ended before its PROXY header was whole")
            size = header.receive(data)
            while size:
                size -= len(receive(size))
        return client_address if header.source is None else header.source

    return take_header


def _is_among(client_address: ClientAddress, networks: Networks) -> bool:
    assert isinstance(client_address, tuple)  # of an inet socket
    host: str = client_address[0].partition("%")[0]
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
