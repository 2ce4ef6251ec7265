"""UDPServer: datagrams over IPv4 and IPv6."""

from __future__ import annotations

import socket
from typing import Annotated, ClassVar

from plugport import Help
from plugport.contracts import ClientAddress, Loop, Request
from plugport.errors import DatagramTooLongError
from plugport.serving import record_keeping
from plugport_builtins.servers.tcp import TCPServer

__all__ = ["UDPServer"]

_DONT_WAIT = int(getattr(socket, "MSG_DONTWAIT", 0))


class UDPServer(TCPServer):
    """A server of datagrams: a request is the pair (datagram, socket). (socketserver.UDPServer)"""

    socket_type = socket.SOCK_DGRAM
    # The most datagrams in one turn of the loop.
    max_burst = 32

    # Datagrams have no preludes.
    hidden_options: ClassVar[frozenset[str]] = frozenset(
        {"proxy_protocol", "proxy_trusted", "prelude_timeout", "max_preludes"}
    )

    allow_reuse_address: Annotated[bool, Help("share the address with other sockets (SO_REUSEADDR)")] = False
    # The longest datagram of UDP (RFC 768).
    max_packet_size: Annotated[int, Help("longest datagram in bytes; longer ones are rejected", gt=0)] = 65535

    def server_activate(self) -> None:
        """Do nothing: a datagram socket does not listen."""

    def get_request(self) -> tuple[Request, ClientAddress]:
        """Receive a datagram. Raises DatagramTooLongError for one that would be truncated."""
        data, client_address = self.socket.recvfrom(self.max_packet_size + 1, _DONT_WAIT)
        if len(data) > self.max_packet_size:
            raise DatagramTooLongError(
                f"a datagram longer than max_packet_size = {self.max_packet_size} bytes", client_address
            )
        return (data, self.socket), client_address

    def enter_loop(self, loop: Loop) -> None:
        """Take several datagrams in a turn, where recvfrom() does not wait for one."""
        super().enter_loop(loop)
        self.intake.burst = 1 if not _DONT_WAIT or self.socket.gettimeout() else self.max_burst

    def stop_listening(self) -> None:
        """Do nothing: replies leave through the socket."""

    def finish_request(self, request: Request, client_address: ClientAddress) -> None:
        """Run the handler on the datagram."""
        self.RequestHandlerClass(request, client_address, self)

    @record_keeping
    def shutdown_request(self, request: Request) -> None:
        """Close the record of a datagram."""
        self.close_request(request)

    @record_keeping
    def close_request(self, request: Request) -> None:
        """Close the record of a datagram, which holds nothing open."""
        if id(request) in self.active_requests:
            self.end_request(request)
