"""ProxyHeader: the header by which a proxy names its client at the start of a connection, without I/O.

The protocol is HAProxy's, "The PROXY protocol, versions 1 & 2".
"""

from __future__ import annotations

import ipaddress
import os
import struct
from functools import cache

from plugport.contracts import ClientAddress
from plugport.errors import PreludeError

__all__ = ["MAX_BLOCK", "ProxyHeader"]

#: The longest header of version 1, in bytes with its CRLF.
_MAX_LINE = 107
#: The longest addresses and values of a header of version 2, in bytes.
MAX_BLOCK = 4096

_LINE = b"PROXY "
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21  # version and command: a connection of the proxy itself, or of a client
_CRC32C = 0x03
#: The families of stream sockets, and the bytes of the addresses and ports of each.
_INET, _INET6, _UNIX, _UNSPECIFIED = 0x11, 0x21, 0x31, 0x00
_SIZES = {_INET: 12, _INET6: 36, _UNIX: 216}


class ProxyHeader:
    """Parses a header from pieces.

    When ``is_complete`` is true, ``source`` is the client's address as accept() returns it. It is None for a
    header without one: the proxy made the connection for itself, for a health check for example.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self.source: ClientAddress = None
        self._received = b""

    def receive(self, data: bytes) -> int:
        """Parse the next bytes; return how many bytes of *data* belong to the header.

        Raises PreludeError as soon as the bytes can't be a header.
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
    """Return the size of the header in bytes, None if more bytes are needed to tell."""
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
        raise PreludeError(f"a PROXY header whose line end is not CRLF: {line[:40]!r}")
    if len(line) == _MAX_LINE:
        raise PreludeError(f"a PROXY header of more than {_MAX_LINE} bytes")
    return None


def _read_line(header: bytes) -> ClientAddress:
    try:
        family, *fields = header.removesuffix(b"\r\n").decode("ascii").split(" ")[1:]
    except UnicodeDecodeError:
        raise PreludeError(f"a PROXY header that is not ASCII: {header!r}") from None
    if family == "UNKNOWN":
        return None  # the rest of the header must be ignored
    if family not in ("TCP4", "TCP6") or len(fields) != 4:
        raise PreludeError(f"a PROXY header that is not 'PROXY TCP4|TCP6 FROM TO PORT PORT': {header!r}")
    kind = ipaddress.IPv4Address if family == "TCP4" else ipaddress.IPv6Address
    try:
        source, _ = (_address(kind, text) for text in fields[:2])
        port, _ = (_port(text) for text in fields[2:])
    except ValueError as error:
        raise PreludeError(f"a PROXY header with an invalid address: {error}") from None
    return _socket_address(source, port)


def _address(
    kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], text: str
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if "%" in text:
        raise ValueError(f"{text!r} has a zone")
    return kind(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or text != str(int(text)) or int(text) > 65535:
        raise ValueError(f"{text!r} is not a port")
    return int(text)


# Version 2 ------------------------------------------------------------------------------------


def _size_of_block(received: bytes) -> int:
    _, command, family, size = _FIXED.unpack_from(received)
    if command not in (_LOCAL, _PROXY):
        raise PreludeError(
            f"a PROXY header of version {command >> 4} with command {command & 15}, not 2 with 0 or 1"
        )
    if command == _PROXY and family not in (*_SIZES, _UNSPECIFIED):
        raise PreludeError(f"a PROXY header for family and protocol {family:#04x}, which is not a stream")
    if size > MAX_BLOCK:
        raise PreludeError(f"a PROXY header of more than {MAX_BLOCK} bytes")
    if command == _PROXY and size < _SIZES.get(family, 0):
        raise PreludeError(f"a PROXY header of {size} bytes, too short for its addresses")
    return _FIXED.size + int(size)


def _read_block(header: bytes) -> ClientAddress:
    _, command, family, _ = _FIXED.unpack_from(header)
    if command == _LOCAL or family == _UNSPECIFIED:
        return None  # the rest of the header must be ignored
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
    """Check that the values after the addresses are well formed, and the checksum if there is one."""
    position = start
    while position < len(header):
        head = header[position : position + 3]
        size = int.from_bytes(head[1:], "big")
        value = position + 3
        if len(head) < 3 or value + size > len(header):
            raise PreludeError("a PROXY header with a value that is longer than the header")
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
    """Return the CRC-32C (Castagnoli; RFC 3720, appendix B.4). zlib has another one."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# Addresses as sockets return them --------------------------------------------------------------


def _socket_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> ClientAddress:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address), port
    mapped = address.ipv4_mapped
    return str(address) if mapped is None else f"::ffff:{mapped}", port, 0, 0


def _path(name: bytes) -> str | bytes:
    """Return a path, or the bytes of an abstract name."""
    name = name.rstrip(b"\0")
    return name if name.startswith(b"\0") else os.fsdecode(name.partition(b"\0")[0])
