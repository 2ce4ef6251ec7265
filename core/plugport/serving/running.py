"""Serving: how a server is run and stopped, whatever it listens on.

The loop is in :mod:`plugport.loop`, the server's place in it in :mod:`plugport.serving.listener`, the taking
of requests in :mod:`plugport.serving.intake`. socketserver's private names are kept here, and only here.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from plugport.bridges import adapt
from plugport.contracts.interfaces import ClientAddress, Request, ServerAddress, Transport
from plugport.contracts.loops import READ, Callback, Loop, Poller
from plugport.contracts.requests import RequestContext, RequestHandedOver
from plugport.contracts.traits import ServerTraits, StrategyTraits, Style, server_traits, strategy_traits
from plugport.handlers.styles import evident_style_of
from plugport.loop.loop import ServerLoop
from plugport.serving.accounting import RequestAccounting
from plugport.serving.intake import Intake
from plugport.serving.listener import Listener
from plugport.serving.preludes import Prelude
from plugport.serving.url import Url, format_url, resolve_url

if TYPE_CHECKING:
    import ssl

__all__ = ["Serving", "has_periodic_work", "not_each_turn"]

logger = logging.getLogger("plugport.server")

_Method = TypeVar("_Method", bound=Callable[..., object])

_NOT_EACH_TURN = "_plugport_not_each_turn"


def not_each_turn(service_actions: _Method) -> _Method:
    """Mark a service_actions() that need not be called in each turn of the loop, only at poll_interval."""
    setattr(service_actions, _NOT_EACH_TURN, True)
    return service_actions


def has_periodic_work(service_actions: Callable[[], object]) -> bool:
    """Return whether *service_actions*, a bound method, must be called in each turn of the loop.

    So it is where a class overrides it, unless it is marked by not_each_turn().
    """
    function = getattr(service_actions, "__func__", service_actions)
    # The base class's does nothing, plugport's and the standard library's.
    base = getattr(sys.modules.get("socketserver"), "BaseServer", None)
    return not (hasattr(function, _NOT_EACH_TURN) or function is getattr(base, "service_actions", None))


class Serving(RequestAccounting):
    """The part of BaseServer that runs it, whatever the class below it listens on.

    What it needs from that class are socketserver's template methods: fileno, get_request, verify_request,
    process_request, finish_request, shutdown_request, close_request, service_actions and handle_timeout.
    """

    #: The name of the server component, which is the scheme of its URL.
    scheme: str = "tcp"

    #: What the strategy and the server class declare; read when the class is made.
    strategy_traits: ClassVar[StrategyTraits] = StrategyTraits()
    server_traits: ClassVar[ServerTraits] = ServerTraits()
    #: How many requests get_request() may be asked for when the socket is ready: above 1 only where it raises
    #: BlockingIOError rather than wait. A class that overrides get_request() says it again, or has 1.
    max_burst: ClassVar[int] = 1
    #: Whether serve_forever() is overridden, so that the server runs by itself.
    has_own_loop: ClassVar[bool] = False

    #: How the serving loop, and a bridge with a loop of its own, wait for descriptors; None: by the best
    #: poller of the platform, which holds the thread. A strategy on another library's loop sets it.
    poller_class: ClassVar[type[Poller] | None] = None
    #: The style of RequestHandlerClass, once it was adapted to the strategy.
    handler_style: Style | None = None
    RequestHandlerClass: Callable[..., Any]

    #: Seconds that a client has for its TLS handshake.
    handshake_timeout: float = 10.0
    #: Seconds that a connection's preludes may take, and how many connections may be at them.
    prelude_timeout: float = 10.0
    max_preludes: int = 512

    #: Whether server_close() waits for what a strategy still runs; a service that abandons requests at the
    #: end of its grace sets it to False. Strategies honour it.
    block_on_close: bool = True

    #: Called with the server when it begins to serve, after the hook server_started.
    announce: Callable[[Any], None] | None = None

    #: How the server takes requests, and those that it has taken and not begun.
    intake: Intake
    #: Whether shutdown() was called, or a drain has ended.
    stopping: bool
    #: When a drain ends, by the monotonic clock; None while there is none.
    drain_deadline: float | None = None

    #: Called in the serving thread when the server begins to drain. A handler that waits for what need not
    #: come, the next request on a connection for example, puts here what ends its wait; it asks is_draining()
    #: after that, and removes it itself.
    drain_callbacks: set[Callable[[], object]]

    #: The loop that polls for this server, while one does.
    serving_loop: Loop | None = None
    #: Whether service_actions() must be called in each turn of the loop.
    has_service_actions: bool = True
    _watched: dict[int, Callback]
    _wake: Callable[[], None] | None = None
    _serving_thread: int | None = None

    # The names under which socketserver.BaseServer keeps its state. Packages in the field use them.
    _BaseServer__is_shut_down: threading.Event

    @property
    def _BaseServer__shutdown_request(self) -> bool:
        return self.stopping

    @_BaseServer__shutdown_request.setter
    def _BaseServer__shutdown_request(self, value: bool) -> None:
        self.stopping = value

    if TYPE_CHECKING:  # what this needs of the server class besides
        timeout: float | None
        socket: Any
        address_family: int
        socket_type: int
        server_address: ServerAddress

    def __init_subclass__(cls, **keywords: object) -> None:
        super().__init_subclass__(**keywords)
        cls.strategy_traits = strategy_traits(cls)
        cls.server_traits = server_traits(cls)
        cls.has_own_loop = cls.serve_forever is not Serving.serve_forever
        for base in cls.__mro__:
            if "get_request" in vars(base):
                cls.max_burst = vars(base).get("max_burst", 1)
                break

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Make what serving needs; a subclass written for socketserver may never call __init__()."""
        self = super().__new__(cls, *args, **kwargs)
        self.stopping = False
        self._BaseServer__is_shut_down = threading.Event()
        self._watched = {}
        self.drain_callbacks = set()
        self.intake = self.make_intake()
        if cls._handle_request_noblock is not Serving._handle_request_noblock:
            self.intake.take_one_by(self._handle_request_noblock)
        return self

    # Where it listens ---------------------------------------------------------------------------

    @classmethod
    def check_options(cls) -> None:
        """Check the options together, when they have been set. Raises OptionError.

        Server and strategy become one class: a class that overrides this calls super()'s.
        """

    @classmethod
    def resolve_url(cls, url: Url) -> tuple[ServerAddress, dict[str, object]]:
        """Return the server address of *url*, and the class attributes that go with it.

        The default reads host and port or a path, by the class's address_family. Raises
        AddressError for a URL that makes no sense. A server of another kind overrides this.
        """
        return resolve_url(url, getattr(cls, "address_family", socket.AF_INET), cls.is_stream())

    def listening_url(self) -> str:
        """Return where the server listens, with the real port: ``tcp://127.0.0.1:9000``."""
        return format_url(self.scheme, getattr(self, "server_address", None))

    @classmethod
    def is_stream(cls) -> bool:
        """Return whether requests are connections (True) or datagrams (False); by ``socket_type``."""
        kind: int = getattr(cls, "socket_type", socket.SOCK_STREAM)
        return kind != socket.SOCK_DGRAM

    def tls_context(self) -> ssl.SSLContext:
        """Return the context for the next connection of a server with the trait ``secure``.

        Such a server overrides this. plugport sets options and sslsocket_class of the context.
        """
        raise NotImplementedError(f"{type(self).__name__} is secure and does not define tls_context()")

    def wrap_connection(self, request: socket.socket) -> ssl.SSLSocket:
        """Return an ssl.SSLSocket on *request*, before the handshake, for a blocking handler.

        A strategy with a class of sockets of its own overrides this. *request* still belongs to the server,
        which closes it after the SSLSocket.
        """
        from plugport.bridges.tls.sockets import wrap_connection

        return wrap_connection(request, self.tls_context())

    def backlog(self) -> int:
        """Return how many connections may wait to be accepted; 0 where that is not known."""
        size: int = getattr(self, "request_queue_size", 0)
        return size

    # Taking requests ----------------------------------------------------------------------------

    def preludes(self) -> Sequence[Prelude]:
        """Return what must be read of each connection before its request begins, in this order.

        Called once, when serving begins. A server of connections may override it, and adds to what its base
        class returns; see :mod:`plugport.serving.preludes`.
        """
        return ()

    @property
    def has_preludes(self) -> bool:
        """Whether connections have preludes, which may have found another client address."""
        return self.intake.pending is not None

    def make_intake(self) -> Intake:
        """Return the intake of a new server. A strategy that takes requests in its own way overrides it."""
        return Intake(self)

    def _handle_request_noblock(self) -> bool:
        """Take one request if one waits. (socketserver's private name, which subclasses override)"""
        return self.intake.take_one()

    def begin_and_process(self, request: Request, client_address: ClientAddress) -> None:
        """Begin a request that was taken, and have the strategy process it."""
        if self.begin_request(request, client_address) is None:
            self.shutdown_request(request)
            return
        try:
            self.process_request(request, client_address)
        except RequestHandedOver:
            return
        except Exception as error:
            self.handle_failure(request, client_address, error)
            self.conclude_request(request)
        except BaseException as error:
            self.fail_request(request, error)
            self.conclude_request(request)
            raise

    # Running ------------------------------------------------------------------------------------

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Handle requests until shutdown(), or until drain() has drained.

        service_actions() is called each turn, at least every *poll_interval* seconds.
        (socketserver.BaseServer.serve_forever, without the half second that shutdown took.)
        """
        self.serve_together([self], poll_interval)

    @classmethod
    def serve_together(cls, servers: Sequence[Self], poll_interval: float = 0.5) -> None:
        """Serve several servers of this strategy in one loop, in this thread, until each has stopped.

        So a serial strategy stays serial across them, and a forking one forks from a single thread. A
        strategy with an event loop of its own overrides this.
        """
        loop = ServerLoop(poller_class=cls.poller_class)
        try:
            for server in servers:
                loop.add(Listener(loop, server, server.serving(loop.wake)))
            loop.run(poll_interval)
        finally:
            loop.close()

    @contextmanager
    def serving(self, wake: Callable[[], None]) -> Iterator[None]:
        """Mark the server as serving in this thread; a class that overrides serve_forever() enters it.

        *wake* ends the loop's wait; shutdown(), drain() and a request's end call it. At the exit shutdown()
        returns in the threads that wait in it.
        """
        self._BaseServer__is_shut_down.clear()
        self._serving_thread = threading.get_ident()
        self._wake = wake
        try:
            if self.hooks.server_started is not None:
                self.hooks.server_started(server=self)
            if self.announce is not None:
                self.announce(self)
            yield
        finally:
            self._wake = None
            self._serving_thread = None
            self.drain_deadline = None
            self.stopping = False
            self._BaseServer__is_shut_down.set()

    def handle_request(self) -> None:
        """Handle one request; wait for it for ``timeout`` seconds at most, or for the socket's own timeout.

        If none has come by then, call handle_timeout(). (socketserver.BaseServer.handle_request)
        """
        timeout = self.socket.gettimeout() if hasattr(self, "socket") else None
        if timeout is None:
            timeout = self.timeout
        elif self.timeout is not None:
            timeout = min(timeout, self.timeout)
        deadline = None if timeout is None else monotonic() + timeout
        loop = ServerLoop(waker=False, poller_class=self.poller_class)
        try:
            listener = Listener(loop, self, None)
            loop.add(listener)
            intake = self.intake
            settled = intake.settled
            while True:
                wait = None if deadline is None else max(deadline - monotonic(), 0.0)
                loop.poll(wait)
                if intake.pending is None:
                    handled = listener.handled > 0
                else:
                    handled = intake.process_queued() or intake.settled != settled
                if handled:
                    self.complete_requests(loop)
                    return
                if deadline is not None and monotonic() >= deadline:
                    self.handle_timeout()
                    return
        finally:
            loop.close()

    def complete_requests(self, loop: ServerLoop) -> None:
        """Poll *loop* until the requests that live in it have ended. handle_request() calls it.

        A strategy that keeps connections in the serving loop overrides it.
        """

    # Stopping -----------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Stop serve_forever() after its current request, and wait until it has stopped.

        Called in the serving thread (by a handler of a synchronous server, or a signal handler) it does not
        wait. On a server that is not serving it returns at once, and the next serve_forever() does.
        (socketserver.BaseServer.shutdown)
        """
        self.stopping = True
        self.wake()
        if self._serving_thread not in (None, threading.get_ident()):
            self._BaseServer__is_shut_down.wait()

    def drain(self, timeout: float) -> None:
        """Have serve_forever() take the backlog, finish the active requests, and return.

        After *timeout* seconds it aborts the connections and ends the children that are left. Returns at
        once; safe from any thread and from a signal handler. A second call moves the deadline.
        """
        self.drain_deadline = monotonic() + timeout
        self.wake()

    def is_draining(self) -> bool:
        """Return whether drain() was called."""
        return self.drain_deadline is not None

    def is_serving(self) -> bool:
        """Return whether a thread is in serve_forever()."""
        return self._serving_thread is not None

    def notify_draining(self) -> None:
        """Call the ``drain_callbacks``. The listener does, when the drain begins."""
        for call in tuple(self.drain_callbacks):
            try:
                call()
            except Exception:
                logger.exception("the drain callback %r raised", call)

    def wake(self) -> None:
        """End the serving loop's wait, if there is one."""
        wake = self._wake
        if wake is not None:
            wake()

    def stop_listening(self) -> None:
        """Take no more requests; those that were taken go on.

        A datagram server keeps its socket: replies leave through it.
        """
        if self.is_stream() and hasattr(self, "socket"):
            self.socket.close()

    def abort_requests(self, *, force: bool = False) -> None:
        """Abort all active requests. *force*: they were aborted before, and have not ended."""
        for context in tuple(self.active_requests.values()):
            self.cancel_request(context, force=force)

    def abort_request(self, context: RequestContext, *, force: bool = False) -> None:
        """Abort a request's connection, so that its handler ends.

        A strategy that can do more, end a child for example, overrides this. *force*: the request was aborted
        before, and has not ended.
        """
        if context.transport is not None:
            context.transport.abort()
        elif not isinstance(context.request, tuple):
            try:
                context.request.shutdown(socket.SHUT_RDWR)
            except (AttributeError, OSError):
                pass  # not a socket, or gone already

    def finish_in_child(self, request: Request, client_address: ClientAddress) -> None:
        """Let the handler continue in a forked child; see BaseRequestHandler.finish_in_child().

        Does nothing here: serial strategies, which need it, override it.
        """

    def transport_made(self, transport: Transport, context: RequestContext) -> None:
        """Called with the transport that a bridge has made for a connection, in the thread it belongs to.

        Does nothing here: a strategy that runs in that thread keeps it in ``context.transport``.
        """

    # What the loop and the strategies above it use ------------------------------------------------

    def watch(self, fd: int, callback: Callback) -> None:
        """Have the serving loop call *callback*, with the events, whenever *fd* is readable."""
        self._watched[fd] = callback
        if self.serving_loop is not None:
            self.serving_loop.register(fd, READ, callback)

    def unwatch(self, fd: int) -> None:
        """Undo watch(); before *fd* is closed."""
        self._watched.pop(fd, None)
        if self.serving_loop is not None:
            self.serving_loop.unregister(fd)

    def after_fork_in_child(self) -> None:
        """Release, in a forked child, the serving loop and what it watches: the parent has them."""
        self._watched.clear()
        self.intake.abandon()
        self._wake = None
        if self.serving_loop is not None:
            self.serving_loop.abandon()
            self.serving_loop = None

    def adapt_handler(self, style: Style) -> None:
        """Put RequestHandlerClass, a handler of *style*, behind a bridge to a style that the strategy drives.

        A service does this for its servers. For a server without a service serve_forever() does it, and takes
        a handler that is not clearly of another style for a blocking one, as socketserver would. Raises
        IncompatibleError if there is no bridge.
        """
        traits = self.strategy_traits
        driven = frozenset(traits.drives)
        self.handler_style, self.RequestHandlerClass = adapt(
            self.RequestHandlerClass,
            style,
            driven,
            stream=self.is_stream(),
            shares_thread=traits.shares_thread,
            secured=driven - frozenset(traits.secures) if self.server_traits.secure else frozenset(),
        )

    def enter_loop(self, loop: Loop) -> None:
        """Called when *loop* begins to poll for the server."""
        if self.handler_style is None:
            self.adapt_handler(evident_style_of(self.RequestHandlerClass))
        self.has_service_actions = has_periodic_work(self.service_actions)
        self.serving_loop = loop
        for fd, callback in self._watched.items():
            loop.register(fd, READ, callback)
        self.intake.enter_loop(loop, self.preludes())

    def leave_loop(self, loop: Loop) -> None:
        """Called when *loop* has ceased to poll for the server."""
        self.intake.leave_loop()
        self.serving_loop = None
        for fd in self._watched:
            loop.unregister(fd)
