"""DatagramTransport: the transport of a datagram server's socket."""

from __future__ import annotations

import socket
from typing import Any

from plugport.transports.base import BaseTransport, Bytes

__all__ = ["DatagramTransport", "send_datagram"]

_DONT_WAIT = int(getattr(socket, "MSG_DONTWAIT", 0))


def send_datagram(sock: Any, data: Bytes, address: Any) -> None:
    """Send a datagram at once, or drop it when there is no room for it: it may be lost anywhere."""
    try:
        sock.sendto(data, _DONT_WAIT, address)
    except (BlockingIOError, InterruptedError):
        pass


class DatagramTransport(BaseTransport):
    """The transport of a datagram server's socket. (asyncio.DatagramTransport)

    Replies leave at once, or are dropped when the socket's buffer is full: a datagram may be lost
    anywhere. The socket stays the server's.
    """

    __slots__ = ()

    def receive(self, data: bytes, addr: Any) -> None:
        """Give a datagram to the protocol. Raises what that raises."""
        self._protocol.datagram_received(data, addr)

    def sendto(self, data: Bytes, addr: Any = None) -> None:
        """Send a datagram to *addr*. Raises TypeError if *data* is not bytes-like.

        An error of the socket goes to the protocol's error_received().
        """
        if self._closing:
            return
        try:
            self._sock.sendto(data, _DONT_WAIT, addr)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._protocol.error_received(error)

    def set_protocol(self, protocol: Any) -> None:
        """Switch to another protocol."""
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Return 0: nothing is kept back."""
        return 0

    def close(self) -> None:
        """Answer no more. connection_lost(None) is called."""
        self._lose(None)

    def abort(self) -> None:
        """Answer no more. connection_lost(None) is called."""
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
