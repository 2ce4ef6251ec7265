"""checksum: the SHA-256 of the input; an example of a request that finishes in a forked child."""

from __future__ import annotations

import hashlib
from typing import Annotated

from plugport import Help
from plugport.contracts import StreamRequest
from plugport_builtins.handlers.inet import InetHandler

__all__ = ["ChecksumHandler"]


class ChecksumHandler(InetHandler):
    """Replies with the SHA-256 (FIPS 180-4) of the whole input, in hexadecimal, and LF.

    Under the sync strategy an input longer than ``small`` is read in a forked child, so that the next request
    need not wait for it.
    """

    small: Annotated[
        int, Help("longest input in bytes that the sync strategy reads without a forked child", ge=0)
    ] = 65536

    def converse(self, connection: StreamRequest) -> None:
        """Read to the end of the input, and reply."""
        digest = hashlib.sha256()
        size = 0
        is_moved = False
        buffer = bytearray(65536)
        view = memoryview(buffer)
        while count := connection.recv_into(buffer):
            digest.update(view[:count])
            size += count
            if size > self.small and not is_moved:
                is_moved = True
                self.finish_in_child()
        connection.sendall(_line(digest.hexdigest()))

    def reply(self, data: bytes) -> bytes:
        """Return the checksum of a datagram."""
        return _line(hashlib.sha256(data).hexdigest())


def _line(text: str) -> bytes:
    return f"{text}\n".encode()
