"""FdServer and FdgramServer: sockets that another process has bound and handed over, systemd or inetd say."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from weakref import WeakKeyDictionary

from plugport import Help
from plugport.contracts import Loop
from plugport.errors import AddressError, ListenError
from plugport.serving import Url, format_url
from plugport_builtins.servers.descriptors import Socket, find_socket
from plugport_builtins.servers.proxied import Networks
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer
from plugport_builtins.servers.unix import bound_replies

if TYPE_CHECKING:
    from plugport import BaseServer as _Server
else:
    _Server = object

__all__ = ["FdServer", "FdgramServer"]

_UNIX = getattr(socket, "AF_UNIX", -1)
_FAMILIES = {int(socket.AF_INET), int(socket.AF_INET6), int(_UNIX)}
#: Looks in the time of one exit_idle: it may be late by that part of itself.
_LOOKS = 4


class HandedOverMixIn(_Server):
    """What both have in common. ``server_address`` is the number of the descriptor at first."""

    #: Not known before there is a socket.
    address_family: ClassVar[int] = socket.AF_UNSPEC
    socket_type: ClassVar[int]

    # It is bound already, and listens.
    request_queue_size: ClassVar[int] = 0
    allow_reuse_address: ClassVar[bool] = False
    allow_reuse_port: ClassVar[bool] = False
    reuse_port: ClassVar[bool] = False
    ipv6_only: ClassVar[bool | None] = None

    exit_idle: Annotated[
        float | None,
        Help("seconds without a request until it ends, to be started again for the next (null: never)", gt=0),
    ] = None

    #: Whether something has come since that was last asked, and how often it was asked in vain.
    _busy = True
    _silent = 0

    @classmethod
    def resolve_url(cls, url: Url) -> tuple[Any, dict[str, Any]]:
        """Find the descriptor, which is the address. Raises AddressError if the server can't do with it."""
        found = find_socket(url)
        if found.family not in _FAMILIES or found.kind not in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            raise AddressError(
                f"{url}: the socket is neither of TCP nor of UDP nor a unix socket of these kinds"
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
        """Raise AddressError if the socket is of the right kind and yet won't do."""

    def take_socket(self) -> None:
        """Own the descriptor; ``server_address`` is then where it is bound."""
        fd: int = self.server_address
        if fd in _owned:
            raise ListenError(f"descriptor {fd} is there twice; each is served once")
        self.socket = socket.socket(fileno=fd)
        _owned.add(fd)
        self._descriptor = fd
        self.socket.set_inheritable(False)
        self.server_address = self.socket.getsockname()

    def listening_url(self) -> str:
        """Where clients reach it: ``tcp://127.0.0.1:9000``."""
        stream = self.socket_type == socket.SOCK_STREAM
        unix = self.address_family == _UNIX
        scheme = ("unix" if stream else "unixgram") if unix else ("tcp" if stream else "udp")
        return format_url(scheme, self.server_address)

    def get_request(self) -> tuple[Any, Any]:
        """Take one, and note that it came."""
        self._busy = True
        return super().get_request()

    def enter_loop(self, loop: Loop) -> None:
        """Look now and then whether something has come, with ``exit_idle``."""
        super().enter_loop(loop)
        if self.exit_idle is not None:
            _together.setdefault(loop, set()).add(self)
            loop.call_later(self.exit_idle / _LOOKS, self._look_for_work)

    def leave_loop(self, loop: Loop) -> None:
        """Nobody looks any more."""
        _together.get(loop, set()).discard(self)
        super().leave_loop(loop)

    def _look_for_work(self) -> None:
        loop = self.serving_loop
        if loop is None or self.exit_idle is None or self.is_draining():
            return
        self._silent = 0 if self._has_work() else self._silent + 1
        self._busy = False
        # All or none: who comes to one that has ended waits for a start that comes when all have.
        together = _together[loop]
        if all(server._silent >= _LOOKS and not server._has_work() for server in together):
            for server in together:
                server.drain(0.0)  # what comes meanwhile waits for who is started next
        else:
            loop.call_later(self.exit_idle / _LOOKS, self._look_for_work)

    def _has_work(self) -> bool:
        return bool(self._busy or self.active_requests or self.accepted or self.waiting)

    def server_close(self) -> None:
        """Close the descriptor in this process; the socket is there as long as another has it."""
        super().server_close()
        _owned.discard(getattr(self, "_descriptor", -1))


#: Those with ``exit_idle``, by the loop that they are in.
_together: WeakKeyDictionary[Loop, set[HandedOverMixIn]] = WeakKeyDictionary()
#: The descriptors that servers of this process have.
_owned: set[int] = set()


class FdServer(HandedOverMixIn, TCPServer):
    """A server of connections on a socket that was handed over.

    A socket that listens is served as any; its file, if it has one, is left where it is. One that
    is a connection is served as the only request: then it ends.
    """

    socket_type = socket.SOCK_STREAM

    #: The one connection, until its request begins.
    _connection: Any = None
    _trigger: Any = None

    def __init__(
        self,
        server_address: Any,
        RequestHandlerClass: Callable[[Any, Any, Any], Any],
        bind_and_activate: bool = True,
    ) -> None:
        super(TCPServer, self).__init__(server_address, RequestHandlerClass)
        self.take_socket()
        self.address_family = self.socket.family  # type: ignore[misc]
        if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            # Others may accept from it, too: who is ready may be gone.
            self.socket.setblocking(False)
        else:
            self._take_connection()

    @classmethod
    def check_socket(cls, url: Url, found: Socket) -> None:
        """See that it listens or is connected, and that ``proxy_protocol`` knows whom to trust."""
        if not (found.is_listening or found.is_connected):
            raise AddressError(
                f"{url}: the socket neither listens nor is connected; listen() before it is handed over"
            )
        if cls.proxy_protocol:
            cls.trusted_proxies(found.family)

    @classmethod
    def trusted_proxies(cls, family: int) -> Networks | None:
        """See TCPServer. Of a socket that is not known yet nothing is asked."""
        return None if family == socket.AF_UNSPEC else super().trusted_proxies(family)

    def _take_connection(self) -> None:
        """Have the loop called once for the one connection, whether its client says anything or not."""
        self._connection = self.socket
        self._connection.setblocking(True)
        self.socket, self._trigger = socket.socketpair()
        self._trigger.send(b"\0")
        # Where the only request ends, so does the server: other servers pay nothing for that.
        for name in ("end_request", "close_request"):
            vars(self)[name] = partial(self._drain_when_idle, getattr(self, name))

    def _drain_when_idle(self, method: Callable[[Any], None], request: Any) -> None:
        method(request)
        if self._connection is None and not (self.active_requests or self.accepted or self.waiting):
            self.drain(0.0)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; or take the only one that there is."""
        if self._trigger is None:
            return super().get_request()
        self.socket.recv(1, socket.MSG_DONTWAIT)
        request, self._connection = self._connection, None
        return request, request.getpeername()

    def server_close(self) -> None:
        """Close what it has."""
        super().server_close()
        for sock in (self._connection, self._trigger):
            if sock is not None:
                sock.close()


class FdgramServer(HandedOverMixIn, UDPServer):
    """A server of datagrams on a socket that was handed over."""

    socket_type = socket.SOCK_DGRAM

    # As for a unix socket, which it may be.
    max_packet_size: Annotated[int, Help("longest datagram in bytes; longer ones are refused", gt=0)] = 262144

    def __init__(
        self,
        server_address: Any,
        RequestHandlerClass: Callable[[Any, Any, Any], Any],
        bind_and_activate: bool = True,
    ) -> None:
        super(TCPServer, self).__init__(server_address, RequestHandlerClass)
        self.take_socket()
        self.address_family = self.socket.family  # type: ignore[misc]
        self.socket.setblocking(True)
        if self.address_family == _UNIX:
            bound_replies(self.socket)
