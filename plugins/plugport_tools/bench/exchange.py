"""Exchange: what one request looks like from outside, and the address that it goes to."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Address", "Exchange"]


class Address(NamedTuple):
    """Where a service listens, as socket() and connect() want it."""

    family: int
    kind: int
    address: Any

    @property
    def is_stream(self) -> bool:
        """Whether requests go there over connections, or as datagrams."""
        return self.kind == socket.SOCK_STREAM

    def make_socket(self, path: str) -> socket.socket:
        """Return a socket that can be connected there.

        A unix datagram socket is bound to *path*: one without a name can't be answered (unix(7)).
        Whoever closes it removes the file.
        """
        sock = socket.socket(self.family, self.kind)
        try:
            if not self.is_stream and self.family == getattr(socket, "AF_UNIX", None):
                sock.bind(path)
            elif self.is_stream and self.family in (socket.AF_INET, socket.AF_INET6):
                # What is left of a long request must not wait for the acknowledgement of its beginning.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            sock.close()
            raise
        return sock


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, and how to tell that it has been answered, whatever the protocol.

    ``payload``     what is sent; nothing to a service that speaks without being asked
    ``answer``      how much answers it: bytes on a stream, else datagrams; None: all until the server closes
    ``greeting``    bytes that the server says first on each connection, before it is sent anything
    ``keep_alive``  whether the next request goes over the same connection
    ``half_close``  whether the end of the payload is told by ending our side of the connection
    ``sample``      how the answer to the probe began, for people
    """

    payload: bytes
    answer: int | None
    greeting: int = 0
    keep_alive: bool = False
    half_close: bool = False
    sample: bytes = b""
