"""ProxyHeader: what a proxy says of its client, at the head of a connection (the PROXY protocol, 1 and 2).

The protocol is HAProxy's, "The PROXY protocol, versions 1 & 2". This reads bytes, and does no I/O.
"""

from __future__ import annotations

import ipaddress
import os
import struct
from functools import cache
from typing import Any

from plugport.errors import PreludeError

__all__ = ["MAX_BLOCK", "ProxyHeader"]

#: The longest header of version 1, its CRLF counted.
_MAX_LINE = 107
#: Bytes that the addresses and further values of a header of version 2 may have together.
MAX_BLOCK = 4096

_LINE = b"PROXY "
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21  # version 2, and what it is about
_CRC32C = 0x03
#: The families over streams: the sizes of an address and of the addresses and ports together.
_INET, _INET6, _UNIX, _UNSPECIFIED = 0x11, 0x21, 0x31, 0x00
_SIZES = {_INET: 12, _INET6: 36, _UNIX: 216}


class ProxyHeader:
    """Takes the bytes of a header as they come.

    Once ``is_complete``, ``source`` is the client's address as accept() would give it, None where the
    header has none: for a connection that the proxy makes for itself, to see if the service is well.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self.source: Any = None
        self._received = b""

    def receive(self, data: bytes) -> int:
        """Look at what follows; return how many bytes of *data* are the header's.

        The rest is not looked at again. Raises PreludeError as soon as it can't be a header.
        """
        received = self._received + data
        size = _size_of(received)
        if size is None or len(received) < size:
            self._received = received
            return len(data)
        header = received[:size]
        self.source = _read_line(header) if header.startswith(_LINE) else _read_block(header)
        self.is_complete = True
        return size - len(self._received)


def _size_of(received: bytes) -> int | None:
    """Return the size of the header that begins so, None if more must come to know."""
    if received.startswith(_LINE):
        return _size_of_line(received)
    if received.startswith(_SIGNATURE):
        return _size_of_block(received) if len(received) >= _FIXED.size else None
    if _LINE.startswith(received) or _SIGNATURE.startswith(received):
        return None
    raise PreludeError(f"no PROXY header: the connection begins with {received[:16]!r}")


# Version 1 ------------------------------------------------------------------------------------


def _size_of_line(received: bytes) -> int | None:
    line = received[:_MAX_LINE]
    text = line.partition(b"\r")[0].partition(b"\n")[0]
    rest = line[len(text) :]
    if rest.startswith(b"\r\n"):
        return len(text) + 2
    if rest not in (b"", b"\r"):
        raise PreludeError(f"a PROXY header with a line end that is no CRLF: {line[:40]!r}")
    if len(line) == _MAX_LINE:
        raise PreludeError(f"a PROXY header of more than {_MAX_LINE} bytes")
    return None


def _read_line(header: bytes) -> Any:
    try:
        family, *fields = header.removesuffix(b"\r\n").decode("ascii").split(" ")[1:]
    except UnicodeDecodeError:
        raise PreludeError(f"a PROXY header that is not ASCII: {header!r}") from None
    if family == "UNKNOWN":
        return None  # and whatever follows is to be ignored
    if family not in ("TCP4", "TCP6") or len(fields) != 4:
        raise PreludeError(f"a PROXY header that is not 'PROXY TCP4|TCP6 FROM TO PORT PORT': {header!r}")
    kind = ipaddress.IPv4Address if family == "TCP4" else ipaddress.IPv6Address
    try:
        source, _ = (_address(kind, text) for text in fields[:2])
        port, _ = (_port(text) for text in fields[2:])
    except ValueError as error:
        raise PreludeError(f"a PROXY header with an address that is none: {error}") from None
    return _socket_address(source, port)


def _address(
    kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], text: str
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if "%" in text:
        raise ValueError(f"{text!r} has a zone")
    return kind(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or text != str(int(text)) or int(text) > 65535:
        raise ValueError(f"{text!r} is no port")
    return int(text)


# Version 2 ------------------------------------------------------------------------------------


def _size_of_block(received: bytes) -> int:
    _, command, family, size = _FIXED.unpack_from(received)
    if command not in (_LOCAL, _PROXY):
        raise PreludeError(
            f"a PROXY header of version {command >> 4} with command {command & 15}, not 2 with 0 or 1"
        )
    if command == _PROXY and family not in (*_SIZES, _UNSPECIFIED):
        raise PreludeError(f"a PROXY header for family and protocol {family:#04x}, which is no stream's")
    if size > MAX_BLOCK:
        raise PreludeError(f"a PROXY header of more than {MAX_BLOCK} bytes")
    if command == _PROXY and size < _SIZES.get(family, 0):
        raise PreludeError(f"a PROXY header of {size} bytes, too short for its addresses")
    return _FIXED.size + int(size)


def _read_block(header: bytes) -> Any:
    _, command, family, _ = _FIXED.unpack_from(header)
    if command == _LOCAL or family == _UNSPECIFIED:
        return None  # and whatever follows is to be ignored
    start = _FIXED.size
    end = start + _SIZES[family]
    _check_values(header, end)
    block = header[start:end]
    if family == _UNIX:
        return _path(block[:108])
    size = 4 if family == _INET else 16
    port = int.from_bytes(block[-4:-2], "big")
    return _socket_address(ipaddress.ip_address(block[:size]), port)


def _check_values(header: bytes, start: int) -> None:
    """See that the values after the addresses are well formed, and the checksum right if there is one."""
    position = start
    while position < len(header):
        head = header[position : position + 3]
        size = int.from_bytes(head[1:], "big")
        value = position + 3
        if len(head) < 3 or value + size > len(header):
            raise PreludeError("a PROXY header whose values do not fit into it")
        if head[0] == _CRC32C:
            blank = header[:value] + bytes(size) + header[value + size :]
            if size != 4 or _crc32c(blank) != int.from_bytes(header[value : value + size], "big"):
                raise PreludeError("a PROXY header whose checksum is wrong")
        position = value + size


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def _crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli; RFC 3720, appendix B.4), which zlib has not."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# Addresses, as sockets have them --------------------------------------------------------------


def _socket_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> Any:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address), port
    mapped = address.ipv4_mapped
    return str(address) if mapped is None else f"::ffff:{mapped}", port, 0, 0


def _path(name: bytes) -> str | bytes:
    """A path, or the bytes of an abstract name."""
    name = name.rstrip(b"\0")
    return name if name.startswith(b"\0") else os.fsdecode(name.partition(b"\0")[0])
