"""Serving: how a server is run and stopped, whatever it listens on.

The loop is in :mod:`plugport.loop`, the server's place in it in :mod:`plugport.serving.membership` and
:mod:`plugport.serving.listener`. socketserver's private names are kept here, and only here.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Self

from plugport.contracts.interfaces import ClientAddress, Request, Transport
from plugport.contracts.requests import RequestContext
from plugport.loop.loop import ServerLoop
from plugport.serving.listener import Listener
from plugport.serving.membership import Membership

__all__ = ["Serving"]

logger = logging.getLogger("plugport.server")


class Serving(Membership):
    """The part of BaseServer that runs it.

    What it needs from the class below are socketserver's template methods: fileno, get_request,
    verify_request, process_request, finish_request, shutdown_request, close_request, service_actions and
    handle_timeout.
    """

    #: Whether serve_forever() is overridden, so that the server runs by itself.
    has_own_loop: ClassVar[bool] = False

    #: Called with the server when it begins to serve, after the hook server_started.
    announce: Callable[[Any], None] | None = None

    #: Whether shutdown() was called, or a drain has ended.
    stopping: bool
    #: When a drain ends, by the monotonic clock; None while there is none.
    drain_deadline: float | None = None

    #: Called in the serving thread when the server begins to drain. A handler that waits for what need not
    #: come, the next request on a connection for example, puts here what ends its wait; it asks is_draining()
    #: after that, and removes it itself.
    drain_callbacks: set[Callable[[], object]]

    _serving_thread: int | None = None

    # The names under which socketserver.BaseServer keeps its state. Packages in the field use them.
    _BaseServer__is_shut_down: threading.Event

    @property
    def _BaseServer__shutdown_request(self) -> bool:
        return self.stopping

    @_BaseServer__shutdown_request.setter
    def _BaseServer__shutdown_request(self, value: bool) -> None:
        self.stopping = value

    if TYPE_CHECKING:  # what this needs of the server class
        timeout: float | None

    def __init_subclass__(cls, **keywords: object) -> None:
        super().__init_subclass__(**keywords)
        cls.has_own_loop = cls.serve_forever is not Serving.serve_forever

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Make what serving needs; a subclass written for socketserver may never call __init__()."""
        self = super().__new__(cls, *args, **kwargs)
        self.stopping = False
        self._BaseServer__is_shut_down = threading.Event()
        self.drain_callbacks = set()
        return self

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
