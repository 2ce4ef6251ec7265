"""Intake: how a server takes requests, and those that it has taken and not begun.

The stages of a drain are in :mod:`plugport.serving.listener`, the records of requests in
:mod:`plugport.serving.accounting`, connections with preludes in :mod:`plugport.serving.preludes`.
"""

from __future__ import annotations

import errno
import logging
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from plugport.contracts.interfaces import ClientAddress, Request
from plugport.contracts.loops import Loop
from plugport.errors import DatagramTooLongError
from plugport.serving.interface import LoopServer
from plugport.serving.preludes import PendingConnections, Prelude

__all__ = ["Intake"]

logger = logging.getLogger("plugport.server")

#: The errors of accept() that mean that the process or the system is out of something that comes back.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
#: Seconds to wait after the first such failure, doubled with each next one up to the second number
#: (asyncio.constants.ACCEPT_RETRY_DELAY).
_BACK_OFF, _BACK_OFF_MAX = 0.05, 1.0
#: Seconds after which a burst takes no more, so that the rest of the loop has its turn.
_LONGEST_BURST = 0.005


class Intake:
    """Takes requests by the server's get_request(), and passes each on: to begin, to a queue, to preludes.

    ``queue``     requests that were accepted and have not begun: before a drain stopped listening, or because
                  there is no room
    ``pending``   the connections whose preludes are not complete; None for a server without preludes
    ``settled``   how many of those have begun or were rejected
    ``burst``     how many requests the loop may take when the socket is ready; above 1 only where
                  get_request() raises BlockingIOError instead of waiting for one
    ``back_off``  seconds of the current pause, after accept() failed for want of a resource; else 0
    ``deliver``   called with each request that was taken, (request, client_address); None: it begins

    A strategy that takes requests in a way of its own makes an object of a subclass in make_intake().
    """

    __slots__ = (
        "_adopt",
        "_resumes",
        "_server",
        "_take_one",
        "back_off",
        "burst",
        "deliver",
        "pending",
        "queue",
        "settled",
    )

    def __init__(self, server: LoopServer, adopt: Callable[[Request], Request] | None = None) -> None:
        """Take requests of *server*; *adopt* makes the request object that the strategy needs of each."""
        # Weak, so that a server that is dropped is freed at once, its socket with it.
        self._server = weakref.ref(server)
        #: In place of take_one(), where a class overrides socketserver's method for that.
        self._take_one: Callable[[], object] | None = None
        self._adopt = adopt
        self.queue: deque[tuple[Request, ClientAddress]] = deque()
        self.pending: PendingConnections | None = None
        self.settled = 0
        self.burst = 1
        self.deliver: Callable[[Request, ClientAddress], None] | None = None
        self.back_off = 0.0
        self._resumes = 0.0

    @property
    def server(self) -> LoopServer:
        """The server, which owns this."""
        server = self._server()
        assert server is not None
        return server

    def take_one_by(self, method: Callable[[], object]) -> None:
        """Take each request by *method*, which returns whether there was one and may call take_one()."""
        self._take_one = method

    def enter_loop(self, loop: Loop, preludes: Sequence[Prelude]) -> None:
        """Let *loop* poll for connections with *preludes*, and for those that are pending already."""
        if self.pending is None and preludes:
            self.pending = PendingConnections(self.server, self, preludes)
            self.deliver = self.pending.admit
        if self.pending is not None:
            self.pending.enter(loop)

    def leave_loop(self) -> None:
        """Leave the loop; pending connections go on in the next one."""
        if self.pending is not None:
            self.pending.leave()

    def is_empty(self) -> bool:
        """Return whether nothing was accepted that has not begun."""
        return not (self.queue or self.pending)

    # Taking -------------------------------------------------------------------------------------

    def take(self, most: int) -> int:
        """Take up to *most* requests that wait, and deliver each. Return how many there were."""
        server = self.server
        get_request, adopt = server.get_request, self._adopt
        deliver = self.deliver or server.begin_and_process
        ends = monotonic() + _LONGEST_BURST if most > 1 else 0.0
        for taken in range(most):
            if self._take_one is not None:
                if not self._take_one():
                    return taken
            else:
                try:
                    request, client_address = get_request()
                except OSError as error:
                    self.accept_failed(error)
                    return taken
                if self.back_off:
                    self.back_off = 0.0
                deliver(request if adopt is None else adopt(request), client_address)
            if server.stopping or (most > 1 and self._burst_is_over(ends)):
                return taken + 1
        return most

    def _burst_is_over(self, ends: float) -> bool:
        """Return whether the loop must decide anew before one more request is taken."""
        return self.server.is_draining() or monotonic() >= ends or not self.server.has_room()

    def take_one(self) -> bool:
        """Take one request if one waits, and deliver it. Return whether there was one."""
        taken = self._take()
        if taken is None:
            return False
        (self.deliver or self.server.begin_and_process)(*taken)
        return True

    def take_for_later(self) -> None:
        """Take one request that is known to wait, and queue it."""
        taken = self._take()
        if taken is not None:
            (self.append if self.pending is None else self.pending.admit)(*taken)

    def _take(self) -> tuple[Request, ClientAddress] | None:
        try:
            request, client_address = self.server.get_request()
        except OSError as error:
            self.accept_failed(error)
            return None
        self.back_off = 0.0
        return request if self._adopt is None else self._adopt(request), client_address

    def append(self, request: Request, client_address: ClientAddress) -> None:
        """Queue a request that can't begin yet."""
        self.queue.append((request, client_address))

    def has_queued(self) -> bool:
        """Return whether requests are queued."""
        return bool(self.queue)

    def accept_failed(self, error: OSError) -> None:
        """Handle what get_request() raised: there is no request, or none can be had now."""
        server = self.server
        if isinstance(error, DatagramTooLongError):
            server.handle_failure(None, error.client_address, error)
            server.reject_request(error.client_address, str(error.strerror))
        elif error.errno in _EXHAUSTED:
            if not self.back_off:
                logger.warning("%s can't accept, will try again: %s", server.listening_url(), error)
            self.back_off = min(self.back_off * 2 or _BACK_OFF, _BACK_OFF_MAX)
            self._resumes = monotonic() + self.back_off
            if self.pending:
                self.pending.reject_oldest_half()
        # else: none waits, or the client closed the connection before it was accepted

    def seconds_to_retry(self) -> float:
        """Return the seconds until accepting may be tried again, after it failed; 0 or less for now."""
        return self._resumes - monotonic()

    # What was taken before ----------------------------------------------------------------------

    def process_queued(self) -> bool:
        """Begin one queued request. Return False if there is none, or no room for it."""
        if not self.queue or not self.server.has_room():
            return False
        if self.pending is not None:
            self.settled += 1
        self.server.begin_and_process(*self.queue.popleft())
        return True

    def reject_all(self, reason: str) -> None:
        """Reject and close what was accepted and has not begun."""
        if self.pending is not None:
            self.pending.reject_all(reason)
        while self.queue:
            request, client_address = self.queue.popleft()
            self.server.reject_request(client_address, reason)
            self.server.shutdown_request(request)

    def abandon(self) -> None:
        """Close, in a forked child, its copies of what has not begun: the parent has the connections."""
        while self.queue:
            self.server.close_request(self.queue.popleft()[0])
        if self.pending is not None:
            self.pending.abandon()
