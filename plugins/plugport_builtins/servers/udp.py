"""UDPServer: datagrams over IPv4 and IPv6."""

from __future__ import annotations

import socket
from typing import Annotated, Any, ClassVar

from plugport import Help
from plugport.contracts import Loop
from plugport.errors import DatagramTooLongError
from plugport_builtins.servers.tcp import TCPServer

__all__ = ["UDPServer"]


_DONT_WAIT = int(getattr(socket, "MSG_DONTWAIT", 0))
#: Datagrams taken at once: who sends many gets no more of a turn of the loop.
_BURST = 32


class UDPServer(TCPServer):
    """A server of datagrams: a request is the pair (datagram, socket). (socketserver.UDPServer)"""

    socket_type = socket.SOCK_DGRAM

    allow_reuse_address: Annotated[bool, Help("share the address with other sockets (SO_REUSEADDR)")] = False
    # Nothing comes before a datagram.
    proxy_protocol: ClassVar[bool] = False  # type: ignore[misc]
    proxy_trusted: ClassVar[tuple[str, ...]] = ()  # type: ignore[misc]
    prelude_timeout: ClassVar[float] = TCPServer.prelude_timeout  # type: ignore[misc]
    max_preludes: ClassVar[int] = TCPServer.max_preludes  # type: ignore[misc]
    # The longest that UDP can carry (RFC 768), so that by default nothing is too long.
    max_packet_size: Annotated[int, Help("longest datagram in bytes; longer ones are refused", gt=0)] = 65535

    def server_activate(self) -> None:
        """Do nothing: datagrams come without listening."""

    def get_request(self) -> tuple[Any, Any]:
        """Receive a datagram that waits. Raises DatagramTooLongError rather than cut one."""
        data, client_address = self.socket.recvfrom(self.max_packet_size + 1, _DONT_WAIT)
        if len(data) > self.max_packet_size:
            raise DatagramTooLongError(
                f"a datagram longer than max_packet_size = {self.max_packet_size} bytes", client_address
            )
        return (data, self.socket), client_address

    def enter_loop(self, loop: Loop) -> None:
        """Take several datagrams at once, where get_request() is known not to wait for one."""
        overridden = any(
            "get_request" in vars(cls) and cls.__module__.partition(".")[0] != "plugport_builtins"
            for cls in type(self).__mro__[: type(self).__mro__.index(UDPServer)]
        )
        waits = overridden or not _DONT_WAIT or self.socket.gettimeout()
        self.burst = 1 if waits else _BURST
        super().enter_loop(loop)

    def stop_listening(self) -> None:
        """Do nothing: replies leave through the socket."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Run the handler on the datagram."""
        self.RequestHandlerClass(request, client_address, self)

    def shutdown_request(self, request: Any) -> None:
        """End the account of a datagram."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """End the account of a datagram, which holds nothing open."""
        if id(request) in self.active_requests:
            self.end_request(request)
