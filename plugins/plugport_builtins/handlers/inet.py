"""InetHandler: the base class of the small internet services."""

from __future__ import annotations

import socket

from plugport import BaseRequestHandler
from plugport.contracts import StreamRequest

__all__ = ["InetHandler"]

#: Ports of services that reply to any datagram (echo, daytime, qotd, chargen, time), and 0, by which the
#: sender says that it expects no reply (RFC 768).
_UNANSWERED_PORTS = frozenset({0, 7, 13, 17, 19, 37})
_DONT_WAIT = int(getattr(socket, "MSG_DONTWAIT", 0))


class InetHandler(BaseRequestHandler):
    """Serves a connection by converse(), a datagram by reply().

    A datagram from a port of such a service, or from the port number that the server itself has, gets no
    reply: a forged address could make two services reply to each other for ever. (inetd does the same)
    """

    def handle(self) -> None:
        """Serve the connection or the datagram."""
        if not isinstance(self.request, tuple):
            self.converse(self.request)
            return
        data, sock = self.request
        if self._is_answerable():
            reply = self.reply(data)
            if reply is not None:
                self._send(sock, reply)

    def converse(self, connection: StreamRequest) -> None:
        """Serve a connection. Here: send the reply to an empty datagram."""
        reply = self.reply(b"")
        if reply:
            connection.sendall(reply)

    def reply(self, data: bytes) -> bytes | None:
        """Return the reply to a datagram, None for none. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} does not define reply()")

    def _is_answerable(self) -> bool:
        address = self.client_address
        if isinstance(address, tuple):
            port = address[1]
            return port not in _UNANSWERED_PORTS and port != self.server.server_address[1]
        return bool(address)  # a unix socket without a name can't be sent to

    def _send(self, sock: socket.socket, reply: bytes) -> None:
        address = self.client_address
        if isinstance(address, tuple):
            sock.sendto(reply, address)
            return
        try:
            # sendto() would wait for ever for a client that does not read.
            sock.sendto(reply, _DONT_WAIT, address)
        except BlockingIOError:
            pass  # a datagram may be lost
        except FileNotFoundError as error:
            raise ConnectionResetError(f"the client's socket file {address!r} was removed") from error
