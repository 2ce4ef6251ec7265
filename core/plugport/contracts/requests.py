"""A request's record, and the server that it belongs to, as hooks, handlers and strategies see them."""

from __future__ import annotations

import itertools
import socket
import struct
import sys
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import ssl
    import threading
    from collections.abc import Callable
    from types import SimpleNamespace

    from plugport.contracts.hooks import ServerHooks
    from plugport.contracts.interfaces import ClientAddress, Handler, Request, Transport
    from plugport.contracts.loops import Callback, Loop, Poller
    from plugport.contracts.traits import ServerTraits, StrategyTraits, Style

__all__ = ["Outcome", "RequestContext", "RequestHandedOver", "Server", "outcome_of", "traffic"]

Outcome = Literal["completed", "failed", "timed-out", "aborted"]

_next_id = itertools.count(1).__next__


class RequestHandedOver(BaseException):
    """Unwinds the parent's side of a handler whose request goes on in a forked child.

    Neither ends nor closes the request: the child does. Not an Exception, so that a handler's
    own ``except Exception`` lets it pass.
    """


class RequestContext:
    """What is known of one request, from its start to its end.

    ``id``                  number of the request, counted from 1 in this process
    ``server``              the server that took it
    ``handler``             name of the handler
    ``request``             the connection (a socket), or the pair (datagram, socket)
    ``client_address``      as accept() or recvfrom() gave it
    ``started_at``          seconds since the epoch
    ``duration``            seconds; None until the request has finished
    ``bytes_received``, ``bytes_sent``
                            bytes of payload, or None where the platform does not tell
    ``outcome``             None until it is known, then "completed", "failed", "timed-out" or "aborted"
    ``error``               the exception that ended it, or None
    ``transport``           the transport that carries it, under strategies that have them; else None
    """

    __slots__ = (
        "aborted_at",
        "active",
        "bytes_received",
        "bytes_sent",
        "client_address",
        "copy",
        "duration",
        "error",
        "held",
        "id",
        "outcome",
        "request",
        "server",
        "started",
        "started_at",
        "transport",
    )

    def __init__(self, server: Server, request: Request, client_address: ClientAddress) -> None:
        self.id = _next_id()
        self.server = server
        self.request = request
        self.client_address: Any = client_address  # authors know the kind of their server's addresses
        self.started_at = time()
        #: The same by the monotonic clock.
        self.started = monotonic()
        self.duration: float | None = None
        self.bytes_received: int | None = None
        self.bytes_sent: int | None = None
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.transport: Transport | None = None
        #: Whether bytes came or went since the idle timeout was last checked.
        self.active = True
        #: When the request was aborted, for a timeout or because its server stops, by the monotonic clock.
        self.aborted_at: float | None = None
        #: The connection on a second descriptor, where an event loop closes the first too early.
        self.copy: socket.socket | None = None
        #: Whether the record stays open when the connection is closed: a forked child has the request.
        self.held = False

    @property
    def handler(self) -> str:
        """The name of the handler that the request went to."""
        return self.server.handler_name

    @property
    def deadline(self) -> float | None:
        """When ``request_timeout`` will have passed, by the monotonic clock; None if there is none."""
        limit = self.server.request_timeout
        return None if limit is None else self.started + limit

    def __repr__(self) -> str:
        return f"<RequestContext {self.id} {self.handler} {self.client_address!r} {self.outcome or 'active'}>"


class Server(Protocol):
    """A server as hooks, handlers, bridges and strategies see it; :class:`plugport.BaseServer` is one.

    Options are attributes that can be set by name; what begins and ends requests is there for strategies.
    """

    # Options, and what a service has set.
    scheme: str
    handler_name: str
    concurrency_name: str
    hooks: ServerHooks
    max_active_requests: int
    request_timeout: float | None
    idle_timeout: float | None
    handshake_timeout: float
    block_on_close: bool

    #: What requests share in memory, where the strategy lets them; hold ``lock`` to change it.
    state: SimpleNamespace
    lock: threading.RLock
    #: The records of the requests that have begun and not ended, by the id() of the request object.
    active_requests: dict[int, RequestContext]
    #: Functions called in the serving thread when the server begins to drain.
    drain_callbacks: set[Callable[[], object]]
    #: The loop that polls for this server, while one does.
    serving_loop: Loop | None
    handler_style: Style | None
    RequestHandlerClass: Handler

    @property
    def strategy_traits(self) -> StrategyTraits: ...
    @property
    def server_traits(self) -> ServerTraits: ...
    @property
    def poller_class(self) -> type[Poller] | None: ...

    @property
    def has_preludes(self) -> bool: ...
    @classmethod
    def is_stream(cls) -> bool: ...
    def listening_url(self) -> str: ...
    def is_draining(self) -> bool: ...
    def has_room(self) -> bool: ...
    def tls_context(self) -> ssl.SSLContext: ...
    def wrap_connection(self, request: socket.socket) -> ssl.SSLSocket: ...

    def begin_request(self, request: Request, client_address: ClientAddress) -> RequestContext | None: ...
    def fail_request(self, request: Request | None, error: BaseException) -> None: ...
    def handle_failure(
        self, request: Request | None, client_address: ClientAddress, error: Exception
    ) -> None: ...
    def end_request(self, request: Request) -> None: ...
    def conclude_request(self, request: Request) -> None: ...
    def expire_request(self, context: RequestContext, reason: str) -> None: ...
    def finish_in_child(self, request: Request, client_address: ClientAddress) -> None: ...
    def transport_made(self, transport: Transport, context: RequestContext) -> None: ...
    def watch(self, fd: int, callback: Callback) -> None: ...
    def unwatch(self, fd: int) -> None: ...


def outcome_of(error: BaseException) -> Outcome:
    """Name the outcome of a request that *error* ended.

    A TimeoutError timed it out; a connection that the peer broke, or whatever is not an
    Exception (SystemExit, KeyboardInterrupt), aborted it; anything else is the handler's failure.
    """
    if isinstance(error, TimeoutError):
        return "timed-out"
    if isinstance(error, ConnectionError) or not isinstance(error, Exception):
        return "aborted"
    return "failed"


# struct tcp_info (linux/tcp.h): tcpi_state, tcpi_notsent_bytes, tcpi_bytes_received, tcpi_bytes_sent and
# tcpi_bytes_retrans. The last two are there since Linux 4.19.
_TCP_INFO = struct.Struct("=B127xQ8xI52xQQ")
#: The states of a connection whose client has ended its side: TIME_WAIT, CLOSE_WAIT, LAST_ACK, CLOSING
#: (linux/tcp_states.h). After a reset there is no telling whether it had.
_AFTER_FIN = frozenset({6, 8, 9, 11})
_LINUX = sys.platform == "linux"
_TCP = (int(socket.IPPROTO_TCP), int(getattr(socket, "TCP_INFO", 0)), _TCP_INFO.size)


def traffic(request: Request) -> tuple[int | None, int | None]:
    """Return (bytes received, bytes sent) of *request*, None for what can't be known.

    For a TCP connection on Linux the kernel has counted already (TCP_INFO), so that nothing
    need count on the way; of a datagram the size of what came is known.
    """
    if isinstance(request, tuple):
        return len(request[0]), None
    if not _LINUX:
        return None, None
    try:
        state, received, unsent, sent, repeated = _TCP_INFO.unpack(request.getsockopt(*_TCP))
    except (AttributeError, OSError, struct.error):  # no TCP, or an older Linux
        return None, None
    # The client's FIN is counted, too. What the application wrote: first sendings (all less repeats),
    # and what waits in the buffer.
    return received - (state in _AFTER_FIN), sent - repeated + unsent
