"""How a server is run and stopped: serve_forever, handle_request, shutdown, drain.

The loop itself is in :mod:`plugport.loop.loop`, the taking of requests in :mod:`plugport.serving.intake`.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from plugport.bridges import adapt
from plugport.contracts.loops import READ, Callback, Loop, Poller
from plugport.contracts.requests import RequestContext
from plugport.handlers.styles import Style, evident_style_of
from plugport.loop.loop import ServerLoop
from plugport.serving.intake import Accepting
from plugport.serving.listener import Listener
from plugport.serving.preludes import PendingConnections
from plugport.serving.url import Url, format_url, resolve_url

__all__ = ["Serving", "is_overridden"]

logger = logging.getLogger("plugport.server")


class Serving(Accepting):
    """The part of BaseServer that runs, whatever the class below it listens on.

    What it needs from that class are socketserver's template methods: fileno, get_request,
    verify_request, process_request, finish_request, shutdown_request, close_request,
    service_actions and handle_timeout.
    """

    #: The name of the server component, which is the scheme of its URL.
    scheme: str = "tcp"

    # The names under which socketserver.BaseServer keeps its state, and by which packages in the
    # field reach for it.
    _BaseServer__shutdown_request: bool
    _BaseServer__is_shut_down: threading.Event

    #: The styles that the strategy drives; see plugport.bridges for the form in which it gets them.
    styles: ClassVar[frozenset[str]] = frozenset({"blocking"})
    #: Whether blocking requests take turns in one thread, so that none may hold it; see plugport.bridges.
    shares_thread: ClassVar[bool] = False
    #: How the serving loop, and a bridge with a loop of its own, wait for descriptors; None: as the
    #: platform does it best, which holds the thread. A strategy on another library's loop sets it.
    poller_class: ClassVar[type[Poller] | None] = None
    #: The style in which RequestHandlerClass is, once it has been adapted to the strategy.
    handler_style: Style | None = None
    RequestHandlerClass: Any

    #: Whether connections go through TLS: tls_context() has the context then. See plugport.bridges.tls.
    secure: ClassVar[bool] = False
    #: Seconds that a client has for its handshake.
    handshake_timeout: float = 10.0
    #: The styles whose connections the strategy itself puts through TLS, by an event loop that can.
    secures: ClassVar[frozenset[str]] = frozenset()

    #: Whether server_close() waits for what a strategy still runs; a service that gives up on
    #: requests at the end of its grace sets it to False. Strategies honour it.
    block_on_close: bool = True

    #: Called with the server when it begins to serve, after the hook server_started.
    announce: Callable[[Any], None] | None = None

    #: Called in the serving thread when the server begins to drain. A handler that waits for what need not
    #: come, another request on a connection say, has here what ends its wait; it looks at is_draining() when
    #: it has put it in, and takes it out itself.
    drain_callbacks: set[Callable[[], object]]

    #: The loop that polls for this server, while one does.
    serving_loop: Loop | None = None
    _watched: dict[int, Callback]
    _wake: Callable[[], None] | None = None
    _serving_thread: int | None = None
    #: Whether service_actions() was overridden, so that each turn of the loop counts.
    has_service_actions: bool = True

    if TYPE_CHECKING:  # what this needs of the server class besides
        timeout: float | None
        socket: Any

        def fileno(self) -> int: ...
        def service_actions(self) -> None: ...
        def handle_timeout(self) -> None: ...
        def close_request(self, request: Any) -> None: ...

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls, *args, **kwargs)
        self._BaseServer__shutdown_request = False
        self._BaseServer__is_shut_down = threading.Event()
        self._watched = {}
        self.drain_callbacks = set()
        return self

    # Where it listens ---------------------------------------------------------------------------

    @classmethod
    def check_options(cls) -> None:
        """Look at the member variables together, when they have been set; raise OptionError.

        Does nothing here. Server and strategy become one class: whoever overrides it calls super()'s.
        """

    @classmethod
    def resolve_url(cls, url: Url) -> tuple[Any, dict[str, Any]]:
        """Turn *url* into the server address, and the member variables that go with it.

        The default reads host and port or a path, by the class's address_family. Raises
        AddressError for what makes no sense. A server of another kind overrides this.
        """
        return resolve_url(url, getattr(cls, "address_family", socket.AF_INET), cls.is_stream())

    def listening_url(self) -> str:
        """Where the server listens, with the real port: ``tcp://127.0.0.1:9000``."""
        return format_url(self.scheme, getattr(self, "server_address", None))

    @classmethod
    def is_stream(cls) -> bool:
        """Whether requests are connections (True) or datagrams (False); by ``socket_type``."""
        kind: int = getattr(cls, "socket_type", socket.SOCK_STREAM)
        return kind != socket.SOCK_DGRAM

    def tls_context(self) -> Any:
        """Return the ssl.SSLContext for the next connection, where the server is ``secure``.

        A server overrides it. The context is plugport's to use: its options and sslsocket_class are set.
        """
        raise NotImplementedError(f"{type(self).__name__} is secure and does not define tls_context()")

    def wrap_connection(self, request: Any) -> Any:
        """Return an ssl.SSLSocket on *request*, before the handshake, for a blocking handler.

        A strategy whose sockets are of a kind of their own overrides it. *request* goes on to
        belong to the server, which closes it after the SSLSocket.
        """
        from plugport.bridges.tls.sockets import wrap_connection

        return wrap_connection(request, self.tls_context())

    # Running ------------------------------------------------------------------------------------

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Handle requests until shutdown(), or until drain() has drained.

        service_actions() is called each turn, at least every *poll_interval* seconds.
        (socketserver.BaseServer.serve_forever, without the half second that shutdown took.)
        """
        self.serve_together([self], poll_interval)

    @classmethod
    def serve_together(cls, servers: Sequence[Any], poll_interval: float = 0.5) -> None:
        """Serve several servers of this strategy in one loop, in this thread, until each has stopped.

        A serial strategy stays serial across them, and a forking one forks from a single thread.
        A strategy with an event loop of its own overrides this.
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
        """Mark the server as serving in this thread, for what overrides serve_forever().

        *wake* ends the loop's wait; shutdown(), drain() and a request's end call it. At the exit
        whoever waits in shutdown() goes on.
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
            self._drain_deadline = None
            self._BaseServer__shutdown_request = False
            self._BaseServer__is_shut_down.set()

    def handle_request(self) -> None:
        """Handle one request, waiting for it no longer than ``timeout`` seconds, nor the socket's own.

        When none has come, calls handle_timeout(). (socketserver.BaseServer.handle_request)
        """
        timeout = self.socket.gettimeout() if hasattr(self, "socket") else None
        if timeout is None:
            timeout = self.timeout
        elif self.timeout is not None:
            timeout = min(timeout, self.timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        loop = ServerLoop(waker=False, poller_class=self.poller_class)
        try:
            listener = Listener(loop, self, None)
            loop.add(listener)
            settled = self.settled
            while True:
                wait = None if deadline is None else max(deadline - time.monotonic(), 0.0)
                loop.poll(wait)
                if self.waiting is None:
                    handled = listener.handled > 0
                else:
                    handled = self.serve_accepted() or self.settled != settled
                if handled:
                    self.complete_requests(loop)
                    return
                if deadline is not None and time.monotonic() >= deadline:
                    self.handle_timeout()
                    return
        finally:
            loop.close()

    def complete_requests(self, loop: ServerLoop) -> None:
        """Poll *loop* until the requests that live in it have ended, for the sake of handle_request().

        Does nothing here: a strategy that keeps connections in the serving loop overrides it.
        """

    # Stopping -----------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Stop serve_forever() after the request it is at, and wait until it has stopped.

        From the serving thread itself (in a handler of a synchronous server, or a signal
        handler) and on a server that is not serving it returns at once; the latter makes the
        next serve_forever() return at once. (socketserver.BaseServer.shutdown)
        """
        self._BaseServer__shutdown_request = True
        self.wake()
        if self._serving_thread not in (None, threading.get_ident()):
            self._BaseServer__is_shut_down.wait()

    def drain(self, timeout: float) -> None:
        """Have serve_forever() take what waits in the backlog, finish what is active, and return.

        After *timeout* seconds it cuts the connections and ends the children that are left.
        Returns at once; safe from any thread and from a signal handler. A second call moves the
        deadline.
        """
        self._drain_deadline = time.monotonic() + timeout
        self.wake()

    def is_draining(self) -> bool:
        """Whether drain() was called."""
        return self._drain_deadline is not None

    def notify_draining(self) -> None:
        """Call what is in ``drain_callbacks``: a loop does, when it sees that the server drains."""
        for call in tuple(self.drain_callbacks):
            try:
                call()
            except Exception:
                logger.exception("%r raised, told that the server drains", call)

    def wake(self) -> None:
        """End the serving loop's wait, if there is one."""
        wake = self._wake
        if wake is not None:
            wake()

    def stop_listening(self) -> None:
        """Take no more requests, and leave those at hand alone.

        A datagram server keeps its socket: replies leave through it.
        """
        if self.is_stream() and hasattr(self, "socket"):
            self.socket.close()

    def abort_requests(self, *, force: bool = False) -> None:
        """Abort all active requests. *force*: the polite way was tried before."""
        for context in tuple(self.active_requests.values()):
            self.cancel_request(context, force=force)

    def abort_request(self, context: RequestContext, *, force: bool = False) -> None:
        """Cut a request's connection, so that its handler comes to an end.

        A strategy that can do more, end a child, say, does. *force*: this was tried before.
        """
        if context.transport is not None:
            context.transport.abort()
        elif not isinstance(context.request, tuple):
            try:
                context.request.shutdown(socket.SHUT_RDWR)
            except (AttributeError, OSError):
                pass  # not a socket, or gone already

    def finish_in_child(self, request: Any, client_address: Any) -> None:
        """Let the handler go on where it holds nobody up; see BaseRequestHandler.finish_in_child().

        Does nothing here: serial strategies, which need it, override it.
        """

    def transport_made(self, transport: Any, context: RequestContext) -> None:
        """Hear of the transport that a bridge has made for a connection, in the thread it belongs to.

        Does nothing here: a strategy that lives in that thread keeps it in ``context.transport``.
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
        """Let go, in a forked child, of the serving loop and of what it watches: they are the parent's."""
        self._watched.clear()
        self.abandon_accepted()
        self._wake = None
        if self.serving_loop is not None:
            self.serving_loop.abandon()
            self.serving_loop = None

    def adapt_handler(self, style: Style) -> None:
        """Put RequestHandlerClass, a handler of *style*, behind the bridge to what the strategy drives.

        A service does this for its servers. Where nobody has, the first serving does it, and takes
        for blocking whatever is not clearly of another style, as socketserver would.
        Raises IncompatibleError if there is no bridge.
        """
        secured = self.styles - self.secures if self.secure else frozenset()
        self.handler_style, self.RequestHandlerClass = adapt(
            self.RequestHandlerClass,
            style,
            self.styles,
            stream=self.is_stream(),
            shares_thread=self.shares_thread,
            secured=secured,
        )

    def enter_loop(self, loop: Loop) -> None:
        """Called when *loop* begins to poll for the server."""
        if self.handler_style is None:
            self.adapt_handler(evident_style_of(self.RequestHandlerClass))
        self.has_service_actions = is_overridden(self.service_actions)
        self.serving_loop = loop
        for fd, callback in self._watched.items():
            loop.register(fd, READ, callback)
        if self.waiting is None and (preludes := self.preludes()):
            self.waiting = PendingConnections(self, preludes)
        if self.waiting is not None:
            self.waiting.enter(loop)

    def leave_loop(self, loop: Loop) -> None:
        """Called when *loop* has ceased to poll for the server."""
        if self.waiting is not None:
            self.waiting.leave()
        self.serving_loop = None
        for fd in self._watched:
            loop.unregister(fd)


def is_overridden(service_actions: Callable[[], None]) -> bool:
    """Whether *service_actions*, a bound method, was overridden, and so does something."""
    # The base class's does nothing, be that class plugport's or the standard library's.
    return getattr(service_actions, "__qualname__", "") != "BaseServer.service_actions"
