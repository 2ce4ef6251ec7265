"""DatagramTransport: the transport of a datagram server's socket."""

from __future__ import annotations

import socket
from typing import Any

from plugport.contracts.interfaces import AnyProtocol, Buffer, ClientAddress
from plugport.transports.base import BaseTransport

__all__ = ["DatagramTransport", "send_datagram"]

_DONT_WAIT = int(getattr(socket, "MSG_DONTWAIT", 0))


def send_datagram(sock: socket.socket, data: Buffer, address: ClientAddress) -> None:
    """Send a datagram at once. It is dropped if the socket's buffer is full: any datagram may be lost."""
    sendto: Any = sock.sendto  # which is not typed for None, the address of a client without a name
    try:
        sendto(data, _DONT_WAIT, address)
    except (BlockingIOError, InterruptedError):
        pass


class DatagramTransport(BaseTransport):
    """The transport of a datagram server's socket. (asyncio.DatagramTransport)

    A reply is sent at once, or dropped if the socket's buffer is full: any datagram may be lost. The
    transport does not close the socket.
    """

    __slots__ = ()

    def receive(self, data: bytes, addr: ClientAddress) -> None:
        """Pass a datagram to the protocol. Raises what the protocol raises."""
        self._protocol.datagram_received(data, addr)

    def sendto(self, data: Buffer, addr: ClientAddress = None) -> None:
        """Send a datagram to *addr*. Raises TypeError if *data* is not bytes-like.

        An error of the socket is passed to the protocol's error_received().
        """
        if self._closing:
            return
        try:
            self._sock.sendto(data, _DONT_WAIT, addr)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._protocol.error_received(error)

    def set_protocol(self, protocol: AnyProtocol) -> None:
        """Switch to another protocol."""
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Return 0: no datagram is kept."""
        return 0

    def close(self) -> None:
        """Send no more. connection_lost(None) is called."""
        self._lose(None)

    def abort(self) -> None:
        """Send no more. connection_lost(None) is called."""
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = self._closed = True
            try:
                self._protocol.connection_lost(error)
            except Exception as failure:
                self._owner.transport_failed(self, failure)
            finally:
                self._owner.transport_lost(self)
