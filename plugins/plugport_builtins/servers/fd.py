"""FdServer and FdgramServer: sockets that another process, systemd or inetd for example, has handed over."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Annotated, ClassVar
from weakref import WeakKeyDictionary

from plugport import Help
from plugport.contracts import ClientAddress, Handler, Loop, Request, ServerAddress
from plugport.errors import AddressError, ListenError
from plugport.serving import Url, format_url, not_each_turn
from plugport_builtins.servers.descriptors import Socket, find_socket
from plugport_builtins.servers.proxied import Networks
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer
from plugport_builtins.servers.unix import limit_reply_time

if TYPE_CHECKING:
    _Server = TCPServer
else:
    _Server = object

__all__ = ["FdServer", "FdgramServer"]

_UNIX = getattr(socket, "AF_UNIX", -1)
_FAMILIES = {int(socket.AF_INET), int(socket.AF_INET6), int(_UNIX)}
#: Checks during one exit_idle. The end may be late by that part of exit_idle.
_CHECKS = 4


class HandedOverMixIn(_Server):
    """What both servers have in common. ``server_address`` is first the number of the descriptor."""

    # Not known before the descriptor is taken.
    address_family = socket.AF_UNSPEC
    max_burst = UDPServer.max_burst

    # The socket is bound and listens already.
    hidden_options: ClassVar[frozenset[str]] = frozenset(
        {"request_queue_size", "allow_reuse_address", "allow_reuse_port", "reuse_port", "ipv6_only"}
    )
    request_queue_size = 0

    exit_idle: Annotated[
        float | None,
        Help(
            "seconds without a request after which the server ends, to be started again (null: never)",
            gt=0,
        ),
    ] = None

    #: Whether a request has come since the last check, and how many checks in a row found none.
    _busy = True
    _idle_checks = 0

    @classmethod
    def resolve_url(cls, url: Url) -> tuple[ServerAddress, dict[str, object]]:
        """Return the descriptor as the address. Raises AddressError if the server can't use it."""
        found = find_socket(url)
        if found.family not in _FAMILIES or found.kind not in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            raise AddressError(
                f"{url}: the socket is not one of TCP, of UDP, or a unix socket for streams or datagrams"
            )
        if found.kind != cls.socket_type:
            other, what = (
                ("fd", "connections") if cls.socket_type == socket.SOCK_DGRAM else ("fdgram", "datagrams")
            )
            raise AddressError(f"{url}: the socket is one of {what}; use {other}://{url.rest}")
        cls.check_socket(url, found)
        return found.fd, {"address_family": found.family}

    @classmethod
    def check_socket(cls, url: Url, found: Socket) -> None:
        """Check a socket of the right kind further. Raises AddressError."""

    def make_socket(self) -> socket.socket:
        """Take the descriptor; ``server_address`` is then the address that it is bound to."""
        fd = self.server_address
        assert isinstance(fd, int)
        if fd in _owned:
            raise ListenError(f"descriptor {fd} is given twice; give each to one server")
        sock = socket.socket(fileno=fd)
        _owned.add(fd)
        self._descriptor = fd
        sock.set_inheritable(False)
        self.server_address = sock.getsockname()
        self.address_family = sock.family
        return sock

    def listening_url(self) -> str:
        """Return the URL at which clients reach the server: ``tcp://127.0.0.1:9000``."""
        stream = self.socket_type == socket.SOCK_STREAM
        unix = self.address_family == _UNIX
        scheme = ("unix" if stream else "unixgram") if unix else ("tcp" if stream else "udp")
        return format_url(scheme, self.server_address)

    def get_request(self) -> tuple[Request, ClientAddress]:
        """Take a request, and note that the server is not idle."""
        self._busy = True
        return super().get_request()

    def enter_loop(self, loop: Loop) -> None:
        """With ``exit_idle``, check at intervals whether the server is idle."""
        super().enter_loop(loop)
        if self.exit_idle is not None:
            _together.setdefault(loop, set()).add(self)
            loop.call_later(self.exit_idle / _CHECKS, self._check_idle)

    def leave_loop(self, loop: Loop) -> None:
        """Stop the checks."""
        _together.get(loop, set()).discard(self)
        super().leave_loop(loop)

    def _check_idle(self) -> None:
        loop = self.serving_loop
        if loop is None or self.exit_idle is None or self.is_draining():
            return
        self._idle_checks = 0 if self._has_work() else self._idle_checks + 1
        self._busy = False
        # All servers of the loop end together: the process is started again only when it has ended.
        together = _together[loop]
        if all(server._idle_checks >= _CHECKS and not server._has_work() for server in together):
            for server in together:
                server.drain(0.0)  # later requests wait in the backlog until the next start
        else:
            loop.call_later(self.exit_idle / _CHECKS, self._check_idle)

    def _has_work(self) -> bool:
        return bool(self._busy or self.active_requests) or not self.intake.is_empty()

    def server_close(self) -> None:
        """Close the descriptor in this process; the socket remains while another process has it."""
        super().server_close()
        _owned.discard(getattr(self, "_descriptor", -1))


#: The servers with ``exit_idle``, by the loop that they are in.
_together: WeakKeyDictionary[Loop, set[HandedOverMixIn]] = WeakKeyDictionary()
#: The descriptors that servers of this process have taken.
_owned: set[int] = set()


class FdServer(HandedOverMixIn, TCPServer):
    """A server of connections on a socket that was handed over.

    A listening socket is served like any other; a socket file is not removed. A connected socket is the only
    request: the server ends after it.
    """

    socket_type = socket.SOCK_STREAM

    #: Whether the socket is a connection.
    _is_connection = False
    #: The one connection, until its request begins.
    _connection: socket.socket | None = None
    #: The other end of the socket pair that is polled in its place.
    _trigger: socket.socket | None = None

    def __init__(
        self,
        server_address: ServerAddress,
        RequestHandlerClass: Handler,
        bind_and_activate: bool = True,
    ) -> None:
        super().__init__(server_address, RequestHandlerClass, bind_and_activate=False)
        if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            # Other processes may accept the connection that the poller has reported.
            self.socket.setblocking(False)
        else:
            self._take_connection()

    @classmethod
    def check_socket(cls, url: Url, found: Socket) -> None:
        """Check that it listens or is connected, and with ``proxy_protocol`` that proxies are trusted."""
        if not (found.is_listening or found.is_connected):
            raise AddressError(
                f"{url}: the socket neither listens nor is connected; listen() before it is handed over"
            )
        if cls.proxy_protocol:
            cls.trusted_proxies(found.family)

    @classmethod
    def trusted_proxies(cls, family: int) -> Networks | None:
        """See TCPServer. Before the socket is known no proxies need be named."""
        return None if family == socket.AF_UNSPEC else super().trusted_proxies(family)

    def _take_connection(self) -> None:
        """Have the loop report the connection once, even if the client sends nothing."""
        self._is_connection = True
        self._connection = self.socket
        self._connection.setblocking(True)
        self.socket, self._trigger = socket.socketpair()
        self._trigger.send(b"\0")
        # Without room for a second request the loop is woken when the first ends.
        self.max_active_requests = 1

    def enter_loop(self, loop: Loop) -> None:
        """Have service_actions() called in each turn, for the only request may end in any of them."""
        super().enter_loop(loop)
        if self._is_connection:
            self.has_service_actions = True

    def get_request(self) -> tuple[Request, ClientAddress]:
        """Accept a connection, or take the only one."""
        if not self._is_connection:
            return super().get_request()
        self.socket.recv(1, socket.MSG_DONTWAIT)
        request, self._connection = self._connection, None
        assert request is not None
        return request, request.getpeername()

    def reject_request(self, client_address: ClientAddress, reason: str) -> None:
        """Report the rejection; if it was the only connection, wake the loop, which ends."""
        super().reject_request(client_address, reason)
        if self._is_connection:
            self.wake()

    @not_each_turn  # of a listening socket; see enter_loop()
    def service_actions(self) -> None:
        """End after the only connection."""
        super().service_actions()
        is_over = self._is_connection and self._connection is None and not self.active_requests
        if is_over and self.intake.is_empty() and not self.is_draining():
            self.drain(0.0)

    def server_close(self) -> None:
        """Close all sockets."""
        super().server_close()
        for sock in (self._connection, self._trigger):
            if sock is not None:
                sock.close()


class FdgramServer(HandedOverMixIn, UDPServer):
    """A server of datagrams on a socket that was handed over."""

    socket_type = socket.SOCK_DGRAM

    # As for a unix socket, which it may be.
    max_packet_size: Annotated[int, Help("longest datagram in bytes; longer ones are rejected", gt=0)] = (
        262144
    )

    def __init__(
        self,
        server_address: ServerAddress,
        RequestHandlerClass: Handler,
        bind_and_activate: bool = True,
    ) -> None:
        super().__init__(server_address, RequestHandlerClass, bind_and_activate=False)
        self.socket.setblocking(True)
        if self.address_family == _UNIX:
            limit_reply_time(self.socket)
