"""GeventMixIn: a greenlet for each request, all in one thread; a greenlet that waits lets others run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import gevent
from gevent.hub import get_hub
from gevent.lock import RLock
from plugport import Help, RequestContext
from plugport.contracts import (
    ABORT_GRACE,
    ClientAddress,
    Loop,
    Poller,
    Request,
    StrategyTraits,
    StreamRequest,
)
from plugport.serving import Intake, ServerLoop

from plugport_gevent.patching import patch_process
from plugport_gevent.poller import HubPoller
from plugport_gevent.sockets import (
    ConnectionSocket,
    ReplySocket,
    as_connection_socket,
    shutdown_socket,
)

if TYPE_CHECKING:
    import socket
    import ssl

    from plugport import BaseServer as _Server
else:
    _Server = object

__all__ = ["GeventMixIn"]


class GeventMixIn(_Server):
    """Runs each request in a greenlet of its own, on gevent's hub: thousands at once, in one thread.

    A handler that waits for its connection lets the others run. So does one that waits for anything else,
    time.sleep() or a database, if the standard library is patched.
    """

    traits = StrategyTraits(shares_thread=True)
    poller_class: ClassVar[type[Poller] | None] = HubPoller
    connection_class: ClassVar[type[socket.socket] | None] = ConnectionSocket

    patch: Annotated[
        bool, Help("whether plugport serve patches the standard library, so that any wait lets others run")
    ] = True

    #: The greenlets of the requests, by the id() of the request records.
    _greenlets: dict[int, gevent.Greenlet]
    #: The socket that replies to datagrams leave through, and the timeout that the server's own had before.
    _reply_socket: ReplySocket | None = None
    _timeout_before: float | None = None

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Give the server a lock that excludes greenlets of one thread, as well as threads."""
        self = super().__new__(cls, *args, **kwargs)
        self._greenlets = {}
        self.lock = RLock()
        return self

    @classmethod
    def prepare_process(cls) -> Iterable[str]:
        """Patch the standard library, if ``patch`` is set. See patch_process()."""
        return patch_process() if cls.patch else ()

    @classmethod
    def serve_together(cls, servers: Sequence[Self], poll_interval: float = 0.5) -> None:
        """Serve several servers in one loop, in this greenlet, until each has stopped."""
        with _new_hub_destroyed():
            super().serve_together(servers, poll_interval)

    def handle_request(self) -> None:
        """Handle one request, to its end."""
        with _new_hub_destroyed():
            super().handle_request()

    def make_intake(self) -> Intake:
        """Return an intake that makes connections ConnectionSockets, whatever the server accepts."""
        return Intake(self, as_connection_socket) if self.is_stream() else super().make_intake()

    def enter_loop(self, loop: Loop) -> None:
        """Make the socket that replies to datagrams leave through."""
        if not self.is_stream():
            self._reply_socket = ReplySocket(self.socket)
            self._timeout_before = self.socket.gettimeout()
            self.socket.setblocking(False)  # gevent's socket waits in spite of MSG_DONTWAIT
        super().enter_loop(loop)

    def finish_request(self, request: Request, client_address: ClientAddress) -> None:
        """Run the handler; it replies to a datagram through the reply socket."""
        if isinstance(request, tuple) and self._reply_socket is not None:
            request = (request[0], self._reply_socket)
        super().finish_request(request, client_address)

    def wrap_connection(self, request: StreamRequest) -> ssl.SSLSocket:
        """Return gevent's kind of TLS socket on *request*, before the handshake, for a blocking handler."""
        from plugport_gevent.secured import wrap_connection  # late: it imports ssl

        return wrap_connection(request, self.tls_context())

    def process_request(self, request: Request, client_address: ClientAddress) -> None:
        """Start a greenlet for the request."""
        context = self.active_requests[id(request)]
        self._greenlets[id(context)] = gevent.spawn(self._run, context)

    def _run(self, context: RequestContext) -> None:
        try:
            self.run_request(context.request, context.client_address)
        except (SystemExit, gevent.GreenletExit):
            pass  # ends this request, as it would end a thread
        except BaseException as error:
            # Raise it in serve_forever(). gevent would print it and go on.
            hub = get_hub()
            hub.loop.run_callback(hub.handle_system_error, type(error), error)
        finally:
            self._greenlets.pop(id(context), None)

    def abort_request(self, context: RequestContext, *, force: bool = False) -> None:
        """Abort the connection; with *force*, kill the greenlet, which may wait for something else."""
        greenlet = self._greenlets.get(id(context))
        # A greenlet that has not started must start, because it ends the request.
        if force and greenlet is not None and greenlet.gr_frame is not None:
            greenlet.kill(block=False)
        if not isinstance(context.request, tuple):
            try:
                shutdown_socket(context.request, SHUT_RDWR)
            except (AttributeError, TypeError, ValueError, OSError):
                pass  # not a socket, or closed already

    def complete_requests(self, loop: ServerLoop) -> None:
        """Wait until all greenlets have ended."""
        gevent.joinall(tuple(self._greenlets.values()))

    def leave_loop(self, loop: Loop) -> None:
        """Abort the requests that shutdown() left: no loop would continue them."""
        is_draining = self.is_draining()  # then they have been aborted, and those that are left do not end
        for force in (False, True):
            if self.active_requests and not is_draining:
                self.abort_requests(force=force)
            gevent.joinall(self._ending_greenlets(is_draining), timeout=ABORT_GRACE)
        if self._reply_socket is not None:
            self._reply_socket.close()
            self._reply_socket = None
            self.socket.settimeout(self._timeout_before)
        super().leave_loop(loop)

    def _ending_greenlets(self, is_draining: bool) -> list[gevent.Greenlet]:
        active = {id(context) for context in self.active_requests.values()} if is_draining else set()
        return [greenlet for key, greenlet in self._greenlets.items() if key not in active]

    def shutdown(self) -> None:
        """Stop serve_forever(), and wait until it has stopped. In the greenlet of a request, don't wait."""
        current = gevent.getcurrent()
        if any(greenlet is current for greenlet in self._greenlets.values()):
            self.stopping = True
            self.wake()
        else:
            super().shutdown()


@contextmanager
def _new_hub_destroyed() -> Iterator[None]:
    """Destroy the thread's hub at the end, if it had none before: the thread may end."""
    hub = get_hub()
    is_new = not (hub.loop.default or bool(hub))
    try:
        yield
    finally:
        if is_new:
            hub.destroy()
