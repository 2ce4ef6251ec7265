"""TCPServer: connections over IPv4 and IPv6, and the base of the other socket servers."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

from plugport import BaseServer, Help
from plugport.contracts import Loop
from plugport.errors import OptionError
from plugport.serving import Prelude
from plugport_builtins.servers.proxied import Networks, proxied, trusted_networks

__all__ = ["TCPServer"]

#: Connections taken at once, where many wait: each look at the socket is a turn of the loop.
_BURST = 8


class TCPServer(BaseServer):
    """A server of stream connections. (socketserver.TCPServer)

    The constructor makes the socket and, with *bind_and_activate*, binds it and listens; if that
    fails the socket is closed and the error, an OSError mostly, goes to the caller.
    """

    address_family: ClassVar[int] = socket.AF_INET
    socket_type: ClassVar[int] = socket.SOCK_STREAM

    request_queue_size: Annotated[int, Help("backlog of the listening socket", ge=0)] = socket.SOMAXCONN
    # On Windows the option means something else: it lets others steal a port in use.
    allow_reuse_address: Annotated[
        bool, Help("bind although connections of an earlier server linger (SO_REUSEADDR)")
    ] = os.name == "posix"
    allow_reuse_port: Annotated[bool, Help("share the port with other processes (SO_REUSEPORT)")] = False
    reuse_port: Annotated[bool, Help("the same as allow_reuse_port")] = False
    ipv6_only: Annotated[bool | None, Help("refuse IPv4 on an IPv6 socket (null: as the system does)")] = None
    handshake_timeout: Annotated[
        float, Help("seconds that a client has for its handshake when the socket is wrapped in TLS", gt=0)
    ] = 10.0

    proxy_protocol: Annotated[
        bool, Help("each connection begins with a PROXY header (1 or 2) that says who the client is")
    ] = False
    proxy_trusted: Annotated[
        tuple[str, ...], Help("addresses and networks of the proxies whose headers are believed")
    ] = ()
    prelude_timeout: Annotated[
        float, Help("seconds for what comes before a request: a PROXY header, say", gt=0)
    ] = 10.0
    max_preludes: Annotated[
        int,
        Help("connections at that; when there is one more, the one that has waited longest is closed", gt=0),
    ] = 512

    socket: Any

    @classmethod
    def check_options(cls) -> None:
        """See that whoever speaks for others is named. Raises OptionError."""
        super().check_options()
        if cls.proxy_protocol:
            cls.trusted_proxies(cls.address_family)
        elif cls.proxy_trusted:
            raise OptionError(
                "option server.proxy_trusted: nobody's headers are read; add -o proxy_protocol=true"
            )

    def __init__(
        self,
        server_address: Any,
        RequestHandlerClass: Callable[[Any, Any, Any], Any],
        bind_and_activate: bool = True,
    ) -> None:
        super().__init__(server_address, RequestHandlerClass)
        self.socket = socket.socket(self.address_family, self.socket_type)
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
            except BaseException:
                self.server_close()
                raise

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
        # Only these families have ports to share; newer Linux refuses the option on others.
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
        """Take the header of a proxy, with ``proxy_protocol``."""
        if not self.proxy_protocol:
            return super().preludes()
        return (*super().preludes(), proxied(self.trusted_proxies(self.address_family)))

    @classmethod
    def trusted_proxies(cls, family: int) -> Networks | None:
        """Whose headers are believed on a socket of that family. Raises OptionError.

        None for everybody's: who may connect to a unix socket is said by the mode of its file.
        """
        return None if family == getattr(socket, "AF_UNIX", -1) else trusted_networks(cls.proxy_trusted)

    def enter_loop(self, loop: Loop) -> None:
        """Take several connections at once, where accept() can be had not to wait for one."""
        super().enter_loop(loop)
        # Elsewhere connections would inherit it from the listening socket.
        if sys.platform == "linux" and self.is_stream():
            listening = self.socket
            plain = type(listening) is socket.socket and listening.gettimeout() is None
            if plain and type(self).get_request is TCPServer.get_request:
                os.set_blocking(listening.fileno(), False)
                self.burst = _BURST

    def leave_loop(self, loop: Loop) -> None:
        """Let accept() wait again, for whoever calls it without a loop."""
        if self.is_stream() and self.burst > 1:
            self.burst = 1
            if self.fileno() >= 0:
                os.set_blocking(self.fileno(), True)
        super().leave_loop(loop)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection. On a socket that was wrapped in TLS the handshake is left for later."""
        listening: Any = self.socket
        if type(listening) is not socket.socket:
            if _is_tls(listening):
                # Else accept() would do it, here in the accepting thread, for as long as a client likes.
                listening.do_handshake_on_connect = False
            request, client_address = listening.accept()
            return request, client_address
        # What accept() does, without the enumerations that it makes of the family and type each time.
        fd, client_address = listening._accept()  # type: ignore[attr-defined]
        request = socket.socket(*self._accepted_as, fd)
        if listening.gettimeout() and socket.getdefaulttimeout() is None:
            request.setblocking(True)
        return request, client_address

    @cached_property
    def _accepted_as(self) -> tuple[int, int, int]:
        """Family, type and protocol of the connections."""
        return int(self.socket.family), int(self.socket.type), self.socket.proto

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Run the handler on the connection, after its TLS handshake if it is still to be done.

        That is on a listening socket that was wrapped in TLS; a server that is ``secure`` has it done
        for each style of handler.
        """
        if type(request) is not socket.socket and _is_tls(request):
            from plugport.serving import do_handshake

            do_handshake(request, self.handshake_timeout)
        self.RequestHandlerClass(request, client_address, self)

    def shutdown_request(self, request: Any) -> None:
        """End the account of a connection, send the end of the stream, and close."""
        if id(request) in self.active_requests:
            self.end_request(request)
        try:
            # close() alone would wait for whoever else holds the connection, a forked child say.
            request.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the client has gone
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Close the connection in this process."""
        if id(request) in self.active_requests:
            self.end_request(request)
        request.close()


def _is_tls(sock: Any) -> bool:
    if type(sock) is socket.socket:
        return False
    ssl = sys.modules.get("ssl")  # not imported: then no socket is wrapped by it
    return ssl is not None and isinstance(sock, ssl.SSLSocket)
