"""How a server takes requests and begins them; what became of get_request().

When it does so is the business of :mod:`plugport.serving.listener`, the account of each request that of
:mod:`plugport.serving.accounting`.
"""

from __future__ import annotations

import errno
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plugport.contracts.requests import RequestHandedOver
from plugport.errors import DatagramTooLongError
from plugport.serving.accounting import RequestAccounting
from plugport.serving.preludes import PendingConnections, Prelude

__all__ = ["Accepting"]

logger = logging.getLogger("plugport.server")

#: What accept() says when the process or the system is out of something that comes back.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
#: Seconds to wait after the first such failure, doubled with each next one up to the second number
#: (asyncio.constants.ACCEPT_RETRY_DELAY).
_ACCEPT_DELAY, _ACCEPT_DELAY_MAX = 0.05, 1.0
#: Seconds after which a burst takes no more: whatever else is in the loop has its turn.
_LONGEST_BURST = 0.005


class Accepting(RequestAccounting):
    """Takes requests by get_request(), and hands those that may begin to process_request()."""

    #: How many requests the loop may take when the socket is ready; above 1 only where get_request()
    #: raises BlockingIOError instead of waiting for one that is not there.
    burst: int = 1

    #: What has been accepted, and has not begun: before a drain stopped listening, or for want of room.
    accepted: deque[tuple[Any, Any]]
    #: Where connections wait until their preludes are complete; None for a server that has none.
    waiting: PendingConnections | None = None
    #: How many of those have begun, or were turned away.
    settled: int = 0
    #: Seconds that the preludes of a connection may take, and how many connections may be at them.
    prelude_timeout: float = 10.0
    max_preludes: int = 512
    #: Seconds that it pauses for want of descriptors or memory, and when that is over; 0 if it does not.
    _accept_delay: float = 0.0
    _accept_resumes: float = 0.0
    _BaseServer__shutdown_request: bool
    _drain_deadline: float | None = None

    if TYPE_CHECKING:  # what this needs of the server class: template methods of socketserver

        def get_request(self) -> tuple[Any, Any]: ...
        def process_request(self, request: Any, client_address: Any) -> None: ...
        def close_request(self, request: Any) -> None: ...
        def listening_url(self) -> str: ...

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls, *args, **kwargs)
        self.accepted = deque()
        return self

    def preludes(self) -> Sequence[Prelude]:
        """Return what must be seen of each connection before its request begins, in this order.

        Asked once, when serving begins. A server of connections may override it, and adds to what its
        base class returns; see :mod:`plugport.serving.preludes`.
        """
        return ()

    def take_requests(self, most: int) -> int:
        """Take up to *most* requests that wait, and process each. Return how many there were.

        *most* is above 1 only for a server with a ``burst``. A strategy may override it.
        """
        ends = time.monotonic() + _LONGEST_BURST if most > 1 else 0.0
        for taken in range(most):
            if not self._handle_request_noblock():
                return taken
            if self._BaseServer__shutdown_request or (most > 1 and self._burst_is_over(ends)):
                return taken + 1
        return most

    def _burst_is_over(self, ends: float) -> bool:
        """Whether the loop must look, in the middle of a burst, before one more request is taken."""
        return self._drain_deadline is not None or time.monotonic() >= ends or not self.has_room()

    def _handle_request_noblock(self, *, later: bool = False) -> bool:
        """Take one request if one waits, and process it, now or *later*. Return whether there was one."""
        try:
            request, client_address = self.get_request()
        except OSError as error:
            self.accept_failed(error)
            return False
        if self._accept_delay:
            self._accept_delay = 0.0
        if self.waiting is not None:
            self.waiting.admit(request, client_address)
        elif later:
            self.accepted.append((request, client_address))
        else:
            self._begin_and_process(request, client_address)
        return True

    def accept_failed(self, error: OSError) -> None:
        """Take note of what get_request() raised."""
        if isinstance(error, DatagramTooLongError):
            self.handle_failure(None, error.client_address, error)
            self.reject_request(error.client_address, str(error.strerror))
        elif error.errno in _EXHAUSTED:
            # Stop accepting for a while: there are no descriptors, or there is no memory.
            if not self._accept_delay:
                logger.warning("%s can't accept, will try again: %s", self.listening_url(), error)
            self._accept_delay = min(self._accept_delay * 2 or _ACCEPT_DELAY, _ACCEPT_DELAY_MAX)
            self._accept_resumes = time.monotonic() + self._accept_delay
            if self.waiting:
                self.waiting.reject_oldest_half()
        # else: there is none, or the client went away before it was accepted

    def accept_for_later(self) -> None:
        """Take one request that is known to wait, for serve_accepted()."""
        Accepting._handle_request_noblock(self, later=True)  # whatever a class has in its place

    def serve_accepted(self) -> bool:
        """Process one of the requests that were accepted for later; False if there is none, or no room."""
        if not self.accepted or not self.has_room():
            return False
        if self.waiting is not None:
            self.settled += 1
        self._begin_and_process(*self.accepted.popleft())
        return True

    def reject_accepted(self) -> None:
        """Close what was accepted and has not begun."""
        if self.waiting is not None:
            self.waiting.dismiss("the service has ended")
        while self.accepted:
            request, client_address = self.accepted.popleft()
            self.reject_request(client_address, "the service has ended")
            self.shutdown_request(request)

    def abandon_accepted(self) -> None:
        """Close, in a forked child, its copies of what has not begun: it is the parent's."""
        while self.accepted:
            self.close_request(self.accepted.popleft()[0])
        if self.waiting is not None:
            self.waiting.abandon()

    def _begin_and_process(self, request: Any, client_address: Any) -> None:
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
