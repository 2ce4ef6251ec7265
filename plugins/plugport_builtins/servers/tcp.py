"""TCPServer: connections over IPv4 and IPv6; the base class of the other socket servers."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from plugport import BaseServer, Help
from plugport.contracts import ClientAddress, Handler, Loop, Request, ServerAddress
from plugport.errors import OptionError
from plugport.serving import Prelude
from plugport_builtins.servers.proxied import Networks, proxied, trusted_networks

if TYPE_CHECKING:
    import ssl

__all__ = ["TCPServer"]


class TCPServer(BaseServer):
    """A server of stream connections. (socketserver.TCPServer)

    The constructor makes the socket and, with *bind_and_activate*, binds it and listens. If that fails, it
    closes the socket and raises the error, mostly an OSError.
    """

    address_family = socket.AF_INET
    socket_type = socket.SOCK_STREAM
    # A turn of the loop polls once, so it takes several connections where many wait.
    max_burst = 8
    #: The class of accepted connections (None: socket.socket), called as that is. A strategy may set its own.
    connection_class: ClassVar[type[socket.socket] | None] = None

    request_queue_size: Annotated[int, Help("backlog of the listening socket, in connections", ge=0)] = (
        socket.SOMAXCONN
    )
    # On Windows the option means something else: it lets other processes take a port in use.
    allow_reuse_address: Annotated[
        bool, Help("whether to bind although connections of an earlier server linger (SO_REUSEADDR)")
    ] = os.name == "posix"
    allow_reuse_port: Annotated[
        bool, Help("whether other processes may bind the same port (SO_REUSEPORT)")
    ] = False
    reuse_port: Annotated[bool, Help("the same as allow_reuse_port")] = False
    ipv6_only: Annotated[
        bool | None, Help("whether an IPv6 socket rejects IPv4 connections (null: the system's default)")
    ] = None
    handshake_timeout: Annotated[
        float, Help("seconds for the TLS handshake, when the listening socket is wrapped in TLS", gt=0)
    ] = 10.0

    proxy_protocol: Annotated[
        bool,
        Help("whether each connection begins with a PROXY header, version 1 or 2, that names the client"),
    ] = False
    proxy_trusted: Annotated[
        tuple[str, ...], Help("addresses and networks of the proxies whose headers are accepted")
    ] = ()
    prelude_timeout: Annotated[
        float, Help("seconds that the preludes of a connection may take, a PROXY header for example", gt=0)
    ] = 10.0
    max_preludes: Annotated[
        int,
        Help("connections in their preludes; one more closes the one that has waited longest", gt=0),
    ] = 512

    socket: Any

    @classmethod
    def check_options(cls) -> None:
        """Check that trusted proxies are named where their headers are read. Raises OptionError."""
        super().check_options()
        if cls.proxy_protocol:
            cls.trusted_proxies(cls.address_family)
        elif cls.proxy_trusted:
            raise OptionError(
                "option server.proxy_trusted: no PROXY headers are read; add -o proxy_protocol=true"
            )

    def __init__(
        self,
        server_address: ServerAddress,
        RequestHandlerClass: Handler,
        bind_and_activate: bool = True,
    ) -> None:
        super().__init__(server_address, RequestHandlerClass)
        self.socket = self.make_socket()
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
            except BaseException:
                self.server_close()
                raise

    def make_socket(self) -> socket.socket:
        """Return the socket, not bound yet, or one that was handed over; called by the constructor."""
        return socket.socket(self.address_family, self.socket_type)

    def server_bind(self) -> None:
        """Bind the socket; called by the constructor. ``server_address`` is then the real one."""
        if self.allow_reuse_address and hasattr(socket, "SO_REUSEADDR"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.allow_reuse_port or self.reuse_port:
            self._share_port()
        if self.ipv6_only is not None and self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, self.ipv6_only)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def _share_port(self) -> None:
        # Other families have no ports, and newer versions of Linux refuse the option for them.
        inet = self.address_family in (socket.AF_INET, socket.AF_INET6)
        if inet and hasattr(socket, "SO_REUSEPORT"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def server_activate(self) -> None:
        """Listen; called by the constructor."""
        self.socket.listen(self.request_queue_size)

    def server_close(self) -> None:
        """Close the listening socket, and the connections that have not begun."""
        super().server_close()
        self.socket.close()

    def fileno(self) -> int:
        """Return the descriptor of the listening socket, -1 once it is closed."""
        fd: int = self.socket.fileno()
        return fd

    def preludes(self) -> Sequence[Prelude]:
        """With ``proxy_protocol``, read the header of the proxy."""
        if not self.proxy_protocol:
            return super().preludes()
        return (*super().preludes(), proxied(self.trusted_proxies(self.address_family)))

    @classmethod
    def trusted_proxies(cls, family: int) -> Networks | None:
        """Return the proxies whose headers are accepted on a socket of that family. Raises OptionError.

        None for all: on a unix socket the mode of the socket file decides which processes may connect.
        """
        return None if family == getattr(socket, "AF_UNIX", -1) else trusted_networks(cls.proxy_trusted)

    def enter_loop(self, loop: Loop) -> None:
        """Take several connections in a turn, where accept() can be kept from waiting for one."""
        super().enter_loop(loop)
        # On other systems connections would inherit O_NONBLOCK from the listening socket.
        if self.max_burst > 1 and sys.platform == "linux" and self.is_stream():
            listening = self.socket
            if type(listening) is socket.socket and listening.gettimeout() is None:
                os.set_blocking(listening.fileno(), False)
                self.intake.burst = self.max_burst

    def leave_loop(self, loop: Loop) -> None:
        """Let accept() wait again, for callers without a loop."""
        if self.is_stream() and self.intake.burst > 1:
            self.intake.burst = 1
            if self.fileno() >= 0:
                os.set_blocking(self.fileno(), True)
        super().leave_loop(loop)

    def get_request(self) -> tuple[Request, ClientAddress]:
        """Accept a connection. The handshake on a listening socket that was wrapped in TLS comes later."""
        listening: Any = self.socket
        if type(listening) is not socket.socket:
            if _is_tls(listening):
                # Otherwise accept() would do the handshake, and wait for the client in the serving thread.
                listening.do_handshake_on_connect = False
            request, client_address = listening.accept()
            return request, client_address
        # socket.accept() without the enumerations that it makes of the family and type each time.
        fd, client_address = listening._accept()  # type: ignore[attr-defined]
        request = self._make_connection(fd)
        if listening.gettimeout() and socket.getdefaulttimeout() is None:
            request.setblocking(True)
        return request, client_address

    @cached_property
    def _make_connection(self) -> Callable[[int], socket.socket]:
        """Makes the socket of a connection, given its descriptor."""
        kind = self.connection_class or socket.socket
        return partial(kind, int(self.socket.family), int(self.socket.type), self.socket.proto)

    def finish_request(self, request: Request, client_address: ClientAddress) -> None:
        """Run the handler on the connection.

        If the listening socket was wrapped in TLS, do the handshake before. (For a server with the trait
        ``secure`` the bridges do it.)
        """
        if type(request) is not socket.socket and _is_tls(request):
            from plugport.serving import do_handshake  # late: it imports ssl

            do_handshake(cast("ssl.SSLSocket", request), self.handshake_timeout)
        self.RequestHandlerClass(request, client_address, self)

    def shutdown_request(self, request: Request) -> None:
        """Close the record of a connection, send the end of the stream, and close."""
        connection: Any = request
        if id(request) in self.active_requests:
            self.end_request(request)
        try:
            # close() alone has no effect while another process, a forked child, holds the connection.
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the client has closed the connection
        self.close_request(request)

    def close_request(self, request: Request) -> None:
        """Close the connection in this process."""
        if id(request) in self.active_requests:
            self.end_request(request)
        connection: Any = request
        connection.close()


def _is_tls(sock: object) -> bool:
    if type(sock) is socket.socket:
        return False
    ssl = sys.modules.get("ssl")  # if it is not imported, it has wrapped no socket
    return ssl is not None and isinstance(sock, ssl.SSLSocket)
