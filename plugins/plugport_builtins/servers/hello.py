"""client_hello(): the prelude of a connection over TLS. It reads no more than is there to see who speaks."""

from __future__ import annotations

import struct

from plugport.contracts import ClientAddress, StreamRequest
from plugport.errors import PreludeError
from plugport.serving import Steps, peek

__all__ = ["client_hello"]

#: What a record begins with: type, version (3, something), length (RFC 8446, 5.1).
_HEAD = struct.Struct(">BBBH")
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_LONGEST_RECORD = 16384
#: Bytes of records that one ClientHello may take. The longest in the field, with keys of post-quantum
#: cryptography, take some 2000.
_LONGEST_HELLO = 32768
#: Records that it may take: each is looked at from the start, and 32768 bytes can be thousands of them.
_MOST_RECORDS = 64


def client_hello(request: StreamRequest, client_address: ClientAddress) -> Steps:
    """Wait until the ClientHello is there whole, and leave it there: the handshake is for whoever serves.

    Raises PreludeError for what is none, as soon as it shows.
    """
    start, message, records = 0, b"", 0
    while not _is_whole(message):
        records += 1
        if records > _MOST_RECORDS:
            raise PreludeError(f"its ClientHello takes more than {_MOST_RECORDS} records")
        if not start:
            _expect((yield from peek(request, 1))[0] == _HANDSHAKE)
        kind, major, _, length = _HEAD.unpack((yield from peek(request, start + _HEAD.size))[start:])
        end = start + _HEAD.size + length
        _expect(kind == _HANDSHAKE and major == 3 and 0 < length <= _LONGEST_RECORD)
        if end > _LONGEST_HELLO:
            raise PreludeError(f"its ClientHello takes more than {_LONGEST_HELLO} bytes")
        if not message:
            _expect((yield from peek(request, start + _HEAD.size + 1))[-1] == _CLIENT_HELLO)
        message += (yield from peek(request, end))[start + _HEAD.size :]
        start = end
    return client_address


def _is_whole(message: bytes) -> bool:
    return len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big")


def _expect(condition: bool) -> None:
    if not condition:
        raise PreludeError("the client does not speak TLS")
