"""Exchange: one request and the size of its answer, and the address of the service."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Address", "Exchange"]


class Address(NamedTuple):
    """The address of a service, as socket() and connect() take it."""

    family: int
    kind: int
    address: Any

    @property
    def is_stream(self) -> bool:
        """Whether requests are connections; else they are datagrams."""
        return self.kind == socket.SOCK_STREAM

    def make_socket(self, path: str) -> socket.socket:
        """Return a socket that can be connected there.

        A unix datagram socket is bound to *path*: one without a name can't be answered (unix(7)).
        The caller removes the file.
        """
        sock = socket.socket(self.family, self.kind)
        try:
            if not self.is_stream and self.family == getattr(socket, "AF_UNIX", None):
                sock.bind(path)
            elif self.is_stream and self.family in (socket.AF_INET, socket.AF_INET6):
                # The rest of a long request must not wait for the acknowledgement of its beginning (RFC 896).
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            sock.close()
            raise
        return sock


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, and the end of its answer, for any protocol.

    ``payload``     bytes of the request; b"" for a service that sends without a request
    ``answer``      size of the answer: bytes on a stream, else datagrams; None: it ends with the connection
    ``greeting``    bytes that the server sends first on each connection
    ``keep_alive``  whether the next request goes over the same connection
    ``half_close``  whether the client's side of the stream ends after the payload
    ``sample``      beginning of the answer to the probe, for reports
    """

    payload: bytes
    answer: int | None
    greeting: int = 0
    keep_alive: bool = False
    half_close: bool = False
    sample: bytes = b""
