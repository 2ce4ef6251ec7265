"""GeventMixIn: a greenlet for each request, all of them in one thread, switched where they wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import gevent
from gevent.hub import get_hub
from gevent.lock import RLock
from plugport import Help, RequestContext
from plugport.contracts import ABORT_GRACE, Loop, Poller, StrategyTraits
from plugport.serving import Intake, ServerLoop

from plugport_gevent.patching import patch_process
from plugport_gevent.poller import HubPoller
from plugport_gevent.sockets import ReplySocket, cooperative, cut

if TYPE_CHECKING:
    from plugport import BaseServer as _Server
else:
    _Server = object

__all__ = ["GeventMixIn"]


class GeventMixIn(_Server):
    """Runs each request in a greenlet of its own, on gevent's hub: thousands at once, in one thread.

    A handler that waits for its connection lets the others run; so does one that waits for anything
    else, time.sleep() or a database, where the standard library is patched.
    """

    traits = StrategyTraits(shares_thread=True)
    poller_class: ClassVar[type[Poller] | None] = HubPoller

    patch: Annotated[
        bool, Help("patch the standard library when plugport serve begins, so that any wait lets others run")
    ] = True

    #: The greenlets of the requests, by the id() of their contexts.
    _greenlets: dict[int, Any]
    _reply_socket: ReplySocket | None = None
    _timeout_before: float | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Give the server a lock that greenlets of one thread keep from each other."""
        self = super().__new__(cls, *args, **kwargs)
        self._greenlets = {}
        self.lock = RLock()
        return self

    @classmethod
    def prepare_process(cls) -> Iterable[str]:
        """Patch the standard library, unless the option says no. Raises OptionError if it is too late."""
        return patch_process() if cls.patch else ()

    @classmethod
    def serve_together(cls, servers: Sequence[Any], poll_interval: float = 0.5) -> None:
        """Serve several servers in one loop, in this greenlet, until each has stopped."""
        with _own_hub():
            super().serve_together(servers, poll_interval)

    def handle_request(self) -> None:
        """Handle one request, to its end."""
        with _own_hub():
            super().handle_request()

    def make_intake(self) -> Intake:
        """Return an intake that takes connections as gevent's sockets."""
        return Intake(self, cooperative) if self.is_stream() else super().make_intake()

    def enter_loop(self, loop: Loop) -> None:
        """Make the socket that datagrams are answered through."""
        if not self.is_stream():
            self._reply_socket = ReplySocket(self.socket)
            self._timeout_before = self.socket.gettimeout()
            self.socket.setblocking(False)  # with MSG_DONTWAIT gevent's would wait all the same
        super().enter_loop(loop)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Run the handler; that of a datagram answers through a socket that may wait."""
        if isinstance(request, tuple):
            request = (request[0], self._reply_socket)
        super().finish_request(request, client_address)

    def wrap_connection(self, request: Any) -> Any:
        """Return gevent's kind of TLS socket on *request*, before the handshake, for a blocking handler."""
        from plugport_gevent.secured import wrap_connection  # late: who has no TLS imports no ssl

        return wrap_connection(request, self.tls_context())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a greenlet for the request."""
        context = self.active_requests[id(request)]
        self._greenlets[id(context)] = gevent.spawn(self._run, context)

    def _run(self, context: RequestContext) -> None:
        try:
            self.run_request(context.request, context.client_address)
        except (SystemExit, gevent.GreenletExit):
            pass  # ends this request, as it would end a thread
        except BaseException as error:
            # For the one who serves. gevent would print it, and let it pass.
            hub = get_hub()
            hub.loop.run_callback(hub.handle_system_error, type(error), error)
        finally:
            self._greenlets.pop(id(context), None)

    def abort_request(self, context: RequestContext, *, force: bool = False) -> None:
        """Cut the connection; with *force*, kill the greenlet that does not mind, or waits elsewhere."""
        greenlet = self._greenlets.get(id(context))
        # One that has not begun must begin, to end its request: it finds its connection cut.
        if force and greenlet is not None and greenlet.gr_frame is not None:
            greenlet.kill(block=False)
        if not isinstance(context.request, tuple):
            cut(context.request)

    def complete_requests(self, loop: ServerLoop) -> None:
        """Wait until all greenlets have ended."""
        gevent.joinall(tuple(self._greenlets.values()))

    def leave_loop(self, loop: Loop) -> None:
        """End the requests that shutdown() left: nobody would go on with them."""
        given_up = self.is_draining()  # a drain has tried all this
        for force in (False, True):
            if self.active_requests and not given_up:
                self.abort_requests(force=force)
            gevent.joinall(self._ending(given_up), timeout=ABORT_GRACE)
        if self._reply_socket is not None:
            self._reply_socket.close()
            self._reply_socket = None
            self.socket.settimeout(self._timeout_before)
        super().leave_loop(loop)

    def _ending(self, given_up: bool) -> list[Any]:
        """The greenlets that will end: without those whose requests are *given_up*."""
        active = {id(context) for context in self.active_requests.values()} if given_up else set()
        return [greenlet for key, greenlet in self._greenlets.items() if key not in active]

    def shutdown(self) -> None:
        """Stop serve_forever(), and wait until it has stopped; a request's own greenlet does not wait."""
        current = gevent.getcurrent()
        if any(greenlet is current for greenlet in self._greenlets.values()):
            self.stopping = True
            self.wake()
        else:
            super().shutdown()


@contextmanager
def _own_hub() -> Iterator[None]:
    """Leave no hub behind in a thread that may end, if there was none before."""
    hub = get_hub()
    used = hub.loop.default or bool(hub)
    try:
        yield
    finally:
        if not used:
            hub.destroy()
