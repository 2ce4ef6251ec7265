"""The PROXY protocol's header: what is one, what is none, and that its pieces do not matter."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugport.errors import PreludeError
from plugport_builtins.servers.proxy_header import MAX_BLOCK, ProxyHeader

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21


def block(command: int, family: int, rest: bytes, size: int | None = None) -> bytes:
    """A header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest) if size is None else size) + rest


def inet(source: str, port: int, *values: bytes) -> bytes:
    """One of a TCP connection from *source*."""
    address = ipaddress.ip_address(source).packed
    ports = struct.pack("!HH", port, 443)
    return block(PROXY, 0x11 if len(address) == 4 else 0x21, address * 2 + ports + b"".join(values))


def value(kind: int, content: bytes) -> bytes:
    return struct.pack("!BH", kind, len(content)) + content


def unix(source: bytes) -> bytes:
    return block(PROXY, 0x31, source.ljust(108, b"\0") + b"/run/proxy".ljust(108, b"\0"))


def read(data: bytes) -> tuple[Any, bytes]:
    """The source, and what follows the header."""
    header = ProxyHeader()
    size = header.receive(data)
    assert header.is_complete, "more is wanted"
    return header.source, data[size:]


GOOD: list[tuple[bytes, Any]] = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", ("192.0.2.1", 56324)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535)),
    (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", ("0.0.0.0", 0)),
    (b"PROXY TCP6 2001:db8::1 ::1 4124 443\r\n", ("2001:db8::1", 4124, 0, 0)),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 4124 443\r\n", ("::ffff:192.0.2.1", 4124, 0, 0)),
    (b"PROXY TCP6 " + b" ".join([b"ffff:f...f:ffff".replace(b"f...f", b"ffff:ffff:ffff:ffff:ffff:ffff")] * 2)
     + b" 65535 65535\r\n", ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 0, 0)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN whatever 1 2 3 and more\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * (107 - 16) + b"\r\n", None),
    (inet("192.0.2.1", 56324), ("192.0.2.1", 56324)),
    (inet("2001:db8::1", 1), ("2001:db8::1", 1, 0, 0)),
    (inet("192.0.2.1", 1, value(0x02, b"example.org"), value(0x04, bytes(7))), ("192.0.2.1", 1)),
    (inet("192.0.2.1", 1, value(0x20, bytes(MAX_BLOCK - 15))), ("192.0.2.1", 1)),
    (unix(b"/run/client.sock"), "/run/client.sock"),
    (unix(b"\0abstract"), b"\0abstract"),
    (unix(b""), ""),
    (unix(b"x" * 108), "x" * 108),
    (block(LOCAL, 0x00, b""), None),
    (block(LOCAL, 0x11, b"anything"), None),
    (block(LOCAL, 0x99, bytes(50)), None),
    (block(PROXY, 0x00, b""), None),
    (block(PROXY, 0x00, b"ignored"), None),
]  # fmt: skip

BAD: list[tuple[bytes, str]] = [
    (b"GET / HTTP/1.1\r\n", "no PROXY header: the connection begins with b'GET / HTTP/1.1"),
    (b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "no PROXY header"),
    (b"PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n", "no PROXY header"),
    (b"\r\n\r\nGET", "no PROXY header"),
    (b"PROXY \r\n", "not 'PROXY TCP4"),
    (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "not 'PROXY TCP4"),
    (b"PROXY UNKNOWNX\r\n", "not 'PROXY TCP4"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "not 'PROXY TCP4"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", "not 'PROXY TCP4"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "not 'PROXY TCP4"),
    (b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "not 'PROXY TCP4"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "not CRLF"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rx", "not CRLF"),
    (b"PROXY TCP4 192.0.2.1\r192.0.2.2 1 2\r\n", "not CRLF"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "'65536' is not a port"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "'01' is not a port"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", "'-1' is not a port"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "'+1' is not a port"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1_0 2\r\n", "'1_0' is not a port"),
    (b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", "an invalid address"),
    (b"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", "an invalid address"),
    (b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", "an invalid address"),
    (b"PROXY TCP4 192.0.2.1 elsewhere 1 2\r\n", "an invalid address"),
    (b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n", "an invalid address"),
    (b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "an invalid address"),
    (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "has a zone"),
    (b"PROXY TCP6 :::1 ::1 1 2\r\n", "an invalid address"),
    ("PROXY TCP4 192.0.2.\u0661 192.0.2.2 1 2\r\n".encode(), "not ASCII"),
    (b"PROXY UNKNOWN " + b"x" * (107 - 15) + b"\r\n", "more than 107 bytes"),
    (b"PROXY UNKNOWN " + b"x" * 200, "more than 107 bytes"),
    (block(0x11, 0x11, bytes(12)), "version 1 with command 1"),
    (block(0x22, 0x11, bytes(12)), "version 2 with command 2"),
    (block(PROXY, 0x12, bytes(12)), "0x12, which is not a stream"),
    (block(PROXY, 0x41, bytes(12)), "0x41, which is not a stream"),
    (block(PROXY, 0x11, bytes(11)), "too short for its addresses"),
    (block(PROXY, 0x21, bytes(35)), "too short for its addresses"),
    (block(PROXY, 0x31, bytes(215)), "too short for its addresses"),
    (block(PROXY, 0x11, b"", MAX_BLOCK + 1), f"more than {MAX_BLOCK} bytes"),
    (block(LOCAL, 0x00, b"", 65535), f"more than {MAX_BLOCK} bytes"),
    (inet("192.0.2.1", 1, b"\x02"), "longer than the header"),
    (inet("192.0.2.1", 1, b"\x02\x00\x05abcd"), "longer than the header"),
    (inet("192.0.2.1", 1, value(0x03, bytes(4))), "checksum is wrong"),
    (inet("192.0.2.1", 1, value(0x03, b"")), "checksum is wrong"),
    (inet("192.0.2.1", 1, value(0x03, bytes(3))), "checksum is wrong"),
]


@pytest.mark.parametrize(("data", "source"), GOOD)
def test_a_header(data: bytes, source: Any) -> None:
    assert read(data) == (source, b"")
    assert read(data + b"PROXY is what follows\r\n") == (source, b"PROXY is what follows\r\n")


@pytest.mark.parametrize(("data", "reason"), BAD)
def test_no_header(data: bytes, reason: str) -> None:
    with pytest.raises(PreludeError) as error:
        read(data)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("data", "reason"), BAD)
def test_no_header_byte_by_byte(data: bytes, reason: str) -> None:
    header = ProxyHeader()
    assert error_of(header, [bytes([byte]) for byte in data])
    assert not header.is_complete


def error_of(header: ProxyHeader, pieces: Iterable[bytes]) -> str:
    """What it says of one of the pieces; "" if all are taken."""
    try:
        for piece in pieces:
            header.receive(piece)
    except PreludeError as error:
        return str(error)
    return ""


def checked(*values: bytes) -> bytes:
    """A header with its checksum, by a computation of its own, bit by bit."""
    header = inet("192.0.2.1", 1, value(0x03, bytes(4)), *values)
    register = 0xFFFFFFFF
    for byte in header:
        for bit in range(8):
            carry = (register ^ byte >> bit) & 1
            register = register >> 1 ^ (0x82F63B78 if carry else 0)
    at = len(SIGNATURE) + 4 + 12 + 3
    return header[:at] + (register ^ 0xFFFFFFFF).to_bytes(4, "big") + header[at + 4 :]


def test_the_checksum() -> None:
    good = checked(value(0x02, b"example.org"))
    assert read(good) == (("192.0.2.1", 1), b"")
    kind = len(SIGNATURE) + 4 + 12  # without the byte there it is no checksum
    for position in {*range(16, len(good))} - {kind}:
        bad = bytearray(good)
        bad[position] ^= 0x10
        with pytest.raises(PreludeError):
            read(bytes(bad))


def test_the_checksum_is_crc32c() -> None:
    from plugport_builtins.servers import proxy_header

    assert proxy_header._crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32/ISCSI
    assert proxy_header._crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


# Any split, any mutation ----------------------------------------------------------------------

headers = st.sampled_from(GOOD)


@given(headers, st.binary(max_size=40), st.lists(st.integers(1, 60), max_size=30))
def test_any_split_gives_the_same(good: tuple[bytes, Any], follows: bytes, sizes: list[int]) -> None:
    data, source = good
    stream = data + follows
    header, taken = ProxyHeader(), 0
    sizes = [*sizes, len(stream)]
    while not header.is_complete:
        piece = stream[taken : taken + sizes.pop(0)] if len(sizes) > 1 else stream[taken:]
        size = header.receive(piece)
        assert size == len(piece) or header.is_complete
        taken += size
    assert (header.source, taken) == (source, len(data))


@given(headers, st.data())
def test_a_mutation_is_a_header_or_the_one_error(good: tuple[bytes, Any], data: st.DataObject) -> None:
    mutated = bytearray(good[0])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(mutated) - 1))
        mutated[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        if not mutated:
            return
    header = ProxyHeader()
    error = error_of(header, [bytes(mutated)])
    assert "\n" not in error
    assert not (error and header.is_complete)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_anything_is_a_header_or_the_one_error(data: bytes, begin: bytes) -> None:
    assert "\n" not in error_of(ProxyHeader(), [begin + data])


def test_what_is_kept_is_bounded() -> None:
    header = ProxyHeader()
    assert "more than 107" in error_of(header, [b"PROXY UNKNOWN ", *[b"x" * 10] * 100])
    assert len(header._received) <= 107
