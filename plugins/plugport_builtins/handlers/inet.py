"""InetHandler: what the small services of the internet have in common."""

from __future__ import annotations

import socket
from typing import Any

from plugport import BaseRequestHandler

__all__ = ["InetHandler"]

#: Ports of services that answer whatever comes (echo, daytime, qotd, chargen, time), and 0, which
#: says that the sender expects no answer (RFC 768).
_UNANSWERED_PORTS = frozenset({0, 7, 13, 17, 19, 37})
_DONT_WAIT = int(getattr(socket, "MSG_DONTWAIT", 0))


class InetHandler(BaseRequestHandler):
    """Serves a connection by converse(), a datagram by reply().

    A datagram from the port of another such service, or from a port of the server's own number, is
    not answered, so that two of them can't be set on each other by a forged address (as inetd has it).
    """

    def handle(self) -> None:
        """Serve the request, by its kind."""
        if not isinstance(self.request, tuple):
            self.converse(self.request)
            return
        data, sock = self.request
        if self._is_answerable():
            answer = self.reply(data)
            if answer is not None:
                self._send(sock, answer)

    def converse(self, connection: Any) -> None:
        """Serve a connection. Here: send what a datagram would be answered with."""
        answer = self.reply(b"")
        if answer:
            connection.sendall(answer)

    def reply(self, data: bytes) -> bytes | None:
        """Return the answer to a datagram, None for none. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} does not define reply()")

    def _is_answerable(self) -> bool:
        address = self.client_address
        if isinstance(address, tuple):
            port = address[1]
            return port not in _UNANSWERED_PORTS and port != self.server.server_address[1]
        return bool(address)  # a unix socket without a name can't be sent to

    def _send(self, sock: Any, answer: bytes) -> None:
        address = self.client_address
        if isinstance(address, tuple):
            sock.sendto(answer, address)
            return
        try:
            # A client that reads no answers would otherwise hold the server for ever.
            sock.sendto(answer, _DONT_WAIT, address)
        except BlockingIOError:
            pass  # dropped, as any datagram may be
        except FileNotFoundError as error:
            raise ConnectionResetError(f"the client's socket file {address!r} has gone") from error
