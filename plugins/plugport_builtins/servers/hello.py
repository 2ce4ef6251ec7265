"""client_hello(): the prelude of a connection over TLS, which waits for the whole ClientHello."""

from __future__ import annotations

import struct

from plugport.contracts import ClientAddress, StreamRequest
from plugport.errors import PreludeError
from plugport.serving import Steps, peek

__all__ = ["client_hello"]

#: The header of a record: type, version (3 and a minor one), length (RFC 8446, 5.1).
_HEAD = struct.Struct(">BBBH")
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_MAX_RECORD = 16384
#: The longest ClientHello, in bytes of its records. Those with post-quantum keys have about 2000.
_MAX_HELLO = 32768
#: The most records of a ClientHello: each is read from the start again, and 32768 bytes may be thousands.
_MAX_RECORDS = 64


def client_hello(request: StreamRequest, client_address: ClientAddress) -> Steps:
    """Wait until the whole ClientHello has come, and leave it unread for the handshake.

    Raises PreludeError at the first byte that does not belong to a ClientHello.
    """
    start, message, records = 0, b"", 0
    while not _is_complete(message):
        records += 1
        if records > _MAX_RECORDS:
            raise PreludeError(f"the ClientHello has more than {_MAX_RECORDS} records")
        if not start:
            _expect((yield from peek(request, 1))[0] == _HANDSHAKE)
        kind, major, _, length = _HEAD.unpack((yield from peek(request, start + _HEAD.size))[start:])
        end = start + _HEAD.size + length
        _expect(kind == _HANDSHAKE and major == 3 and 0 < length <= _MAX_RECORD)
        if end > _MAX_HELLO:
            raise PreludeError(f"the ClientHello has more than {_MAX_HELLO} bytes")
        if not message:
            _expect((yield from peek(request, start + _HEAD.size + 1))[-1] == _CLIENT_HELLO)
        message += (yield from peek(request, end))[start + _HEAD.size :]
        start = end
    return client_address


def _is_complete(message: bytes) -> bool:
    return len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big")


def _expect(condition: bool) -> None:
    if not condition:
        raise PreludeError("the client does not speak TLS")
