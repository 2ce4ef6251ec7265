"""Addresses of peers as bytes in network order, and sets of networks to look them up in."""

from __future__ import annotations

import ipaddress
import socket
from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plugport.contracts import ClientAddress

__all__ = ["Networks", "address_of", "group_of"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The prefix of an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2).
_MAPPED = bytes(10) + b"\xff\xff"
_MAPPED_BITS = 96


def address_of(client_address: ClientAddress) -> bytes | None:
    """Return the address of a peer, 4 or 16 bytes; None for a peer without an address, on a unix socket.

    An IPv4-mapped address is 4 bytes. Raises OSError if the host is not an address.
    """
    if not (isinstance(client_address, tuple) and client_address and isinstance(client_address[0], str)):
        return None
    host = client_address[0]
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host)
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return packed[12:] if packed.startswith(_MAPPED) else packed


def group_of(address: bytes, prefix: int) -> bytes:
    """Return the key of a peer: its IPv4 address, or the first *prefix* bits of its IPv6 address."""
    if len(address) == 4 or prefix == 128:
        return address
    whole, bits = divmod(prefix, 8)
    # The mark tells four bytes of it from an IPv4 address.
    if not bits:
        return b":" + address[:whole]
    return b":" + address[:whole] + bytes([address[whole] >> (8 - bits)])


class Networks:
    """A set of networks and addresses, *texts* in CIDR notation, looked up by bisection.

    Raises ValueError for a text that is neither.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        networks = [_network(text) for text in texts]
        self._ranges = {4: _ranges(networks, 4), 6: _ranges(networks, 6)}

    def __contains__(self, address: bytes) -> bool:
        firsts, lasts = self._ranges[4 if len(address) == 4 else 6]
        index = bisect_right(firsts, address)
        return index > 0 and address <= lasts[index - 1]


def _network(text: str) -> _Network:
    text = text.strip()
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        try:
            network = ipaddress.ip_interface(text).network
        except ValueError:
            raise ValueError(
                f"{text!r} is neither an address nor a network; "
                "write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32"
            ) from None
        raise ValueError(f"{text!r} is an address within a network; the network is {network}") from None
    if network.version == 6 and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.ip_network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def _ranges(networks: list[_Network], version: int) -> tuple[list[bytes], list[bytes]]:
    """Return the first and the last addresses of the networks of one *version*, sorted and disjoint."""
    these: Any = [network for network in networks if network.version == version]
    merged: list[Any] = list(ipaddress.collapse_addresses(these))
    return [each[0].packed for each in merged], [each[-1].packed for each in merged]
