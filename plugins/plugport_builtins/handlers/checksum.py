"""checksum: SHA-256 of what is sent; the example of a request that is finished in a forked child."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from plugport import Help
from plugport_builtins.handlers.inet import InetHandler

__all__ = ["ChecksumHandler"]


class ChecksumHandler(InetHandler):
    """Answers with the SHA-256 (FIPS 180-4) of all that is sent, in hexadecimal, and LF.

    Small input is answered at once. Larger input is finished where it holds nobody up: under the
    sync strategy in a forked child, under the others where it is.
    """

    small: Annotated[int, Help("bytes up to which input is answered at once", ge=0)] = 65536

    def converse(self, connection: Any) -> None:
        """Read to the end of the input, and answer."""
        digest = hashlib.sha256()
        size = 0
        moved = False
        buffer = bytearray(65536)
        view = memoryview(buffer)
        while count := connection.recv_into(buffer):
            digest.update(view[:count])
            size += count
            if size > self.small and not moved:
                moved = True
                self.finish_in_child()
        connection.sendall(_line(digest.hexdigest()))

    def reply(self, data: bytes) -> bytes:
        """Return the checksum of a datagram."""
        return _line(hashlib.sha256(data).hexdigest())


def _line(text: str) -> bytes:
    return f"{text}\n".encode()
