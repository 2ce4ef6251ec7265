"""InetHandler: what the small services of the internet have in common."""

from __future__ import annotations

from typing import Any

from plugport import BaseRequestHandler

__all__ = ["InetHandler"]

#: Ports of services that answer whatever comes: echo, daytime, qotd, chargen, time.
_ANSWERING_PORTS = frozenset({7, 13, 17, 19, 37})


class InetHandler(BaseRequestHandler):
    """Serves a connection by converse(), a datagram by reply().

    A datagram from the port of another such service is not answered, so that two of them can't be
    set on each other by a forged address (as inetd has it).
    """

    def handle(self) -> None:
        """Serve the request, by its kind."""
        if not isinstance(self.request, tuple):
            self.converse(self.request)
            return
        data, sock = self.request
        if _is_answerable(self.client_address):
            answer = self.reply(data)
            if answer is not None:
                sock.sendto(answer, self.client_address)

    def converse(self, connection: Any) -> None:
        """Serve a connection. Here: send what a datagram would be answered with."""
        answer = self.reply(b"")
        if answer:
            connection.sendall(answer)

    def reply(self, data: bytes) -> bytes | None:
        """Return the answer to a datagram, None for none. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} does not define reply()")


def _is_answerable(client_address: Any) -> bool:
    if isinstance(client_address, tuple):
        return client_address[1] not in _ANSWERING_PORTS
    return bool(client_address)  # a unix socket without a name can't be sent to
