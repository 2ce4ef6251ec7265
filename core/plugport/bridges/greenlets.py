"""blocking -> protocol: the handler runs in a greenlet that is switched out where it would block.

Its request looks like the socket that it expects. What it does besides, a sleep or a query
elsewhere, blocks the loop for all: nothing is patched.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import greenlet

from plugport.bridges.switched_socket import SwitchedSocket
from plugport.contracts.requests import RequestContext
from plugport.transports import clock_of

__all__ = ["SwitchedProtocol", "SwitchedSocket", "switched_protocol"]

#: Unread bytes above which the transport is told to read no more.
_HIGH_WATER = 262144
#: Bytes that a handler may write before the loop has its turn.
_MAX_BURST = 262144


class SwitchedProtocol:
    """The protocol of one connection whose handler runs in a greenlet."""

    __slots__ = (
        "_burst",
        "_clock",
        "_context",
        "_deadline",
        "_expired",
        "_greenlet",
        "_handler",
        "_lost",
        "_paused",
        "_reading_paused",
        "_timer",
        "_timer_at",
        "_to_loop",
        "_waiting",
        "_wanted",
        "eof",
        "transport",
        "unread",
    )

    def __init__(self, handler: Callable[[Any, Any, Any], Any], context: RequestContext) -> None:
        self._handler = handler
        self._context = context
        self._greenlet: Any = None
        self._to_loop: Any = None  # switches to the loop's greenlet
        self._waiting = False  # the handler's is switched out
        self._paused = False  # too much is unsent
        self._wanted = 0  # bytes that the handler has waited for last
        self._burst = 0  # bytes written since the loop had its turn
        self._reading_paused = False
        self._deadline = 0.0  # of a wait that has one, by the transport's clock
        self._expired = False
        self._timer: Any = None
        self._timer_at = 0.0
        self._lost: Exception | None = None
        self.unread: bytes | bytearray = b""
        self.eof = False
        self.transport: Any = None
        self._clock: Callable[[], float]

    # Called by the loop -------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Start the handler; it runs until it must wait."""
        self.transport = transport
        self._clock = clock_of(transport)
        self._to_loop = greenlet.getcurrent().switch
        self._greenlet = greenlet.greenlet(self._run)
        self._greenlet.switch()

    def data_received(self, data: bytes) -> None:
        """Keep *data* for the handler, and switch to it if it waits."""
        if self.unread:
            self._unread_array().extend(data)
        else:
            self.unread = data
        if self._waiting:
            self._greenlet.switch()
        if self.unread:
            unread = len(self.unread)
            if unread > _HIGH_WATER and unread > self._wanted and not self._reading_paused:
                self._reading_paused = True
                self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Let the handler see the end; the connection stays open for its reply."""
        self.eof = True
        self._resume()
        return True

    def pause_writing(self) -> None:
        """Have writers wait."""
        self._paused = True

    def resume_writing(self) -> None:
        """Let the handler write on."""
        self._paused = False
        self._resume()

    def connection_lost(self, error: Exception | None) -> None:
        """Let the handler see that the connection is gone; it does not wait any more."""
        self._lost = error or BrokenPipeError(errno.EPIPE, "Broken pipe")
        self.eof = True
        self._paused = False
        self._resume()
        self._greenlet = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _resume(self) -> None:
        if self._waiting and self._greenlet is not None:
            self._greenlet.switch()

    def _run(self) -> None:
        context = self._context
        server = context.server
        try:
            self._handler(SwitchedSocket(self), context.client_address, server)
        except Exception as error:
            # What it has written before is still sent, as it would be by a blocking server.
            server.handle_failure(context.request, context.client_address, error)
        except (SystemExit, greenlet.GreenletExit) as error:
            server.fail_request(context.request, error)  # ends this request, as it would end a thread
        finally:
            self.transport.close()

    # Called by the handler, in its greenlet --------------------------------------------------------

    def wait_for_data(self, count: int, timeout: float | None) -> None:
        """Wait until *count* bytes are there to read, or the end of the stream.

        Raises ConnectionResetError if the connection broke and nothing is left to read.
        """
        self._wanted = count
        while len(self.unread) < count and not self.eof:
            if self._reading_paused:
                self._reading_paused = False
                self.transport.resume_reading()
            self._wait(timeout)
        if self._lost is not None and not self.unread and isinstance(self._lost, ConnectionResetError):
            raise self._lost

    def receive(self, count: int, timeout: float | None) -> bytes:
        """Wait until there is something to read, and return up to *count* bytes of it; b"" at the end."""
        data = self.unread
        if not data:
            self.wait_for_data(1, timeout)
            data = self.unread
        if type(data) is bytes and len(data) <= count:
            self.unread = b""
            return data
        return self.take(count)

    def take(self, count: int) -> bytes:
        """Return up to *count* of the bytes that are there; they are read then."""
        data = self.unread
        if len(data) <= count:
            self.unread = b""
            return data if type(data) is bytes else bytes(data)
        data = self._unread_array()
        piece = bytes(data[:count])
        del data[:count]
        return piece

    def _unread_array(self) -> bytearray:
        # It grows at its end and shrinks at its start at no more cost than that of the bytes concerned.
        if not isinstance(self.unread, bytearray):
            self.unread = bytearray(self.unread)
        return self.unread

    def write(self, data: Any, timeout: float | None) -> None:
        """Give *data* to the transport, and wait while too much is unsent."""
        while self._paused:  # before and not after: what times out here has sent nothing
            self._wait(timeout)
        if self._burst > _MAX_BURST:
            # A client that takes all at once must not keep the loop from the others.
            self.transport.call_soon(self._resume)
            self._wait(None)
        if self._lost is not None:
            raise self._lost
        self.transport.write(data)
        self._burst += len(data)

    def end_reading(self) -> None:
        """End what is read, also for a handler that waits for more: the loop may call this, too."""
        self.eof = True
        self._resume()

    def write_eof(self) -> None:
        """End what is sent."""
        self._lost = self._lost or BrokenPipeError(errno.EPIPE, "Broken pipe")
        self.transport.write_eof()

    def detach(self) -> int:
        """Take the descriptor from the loop."""
        sock = self.transport.detach()
        sock.setblocking(True)
        fd: int = sock.detach()
        return fd

    def _wait(self, timeout: float | None) -> None:
        """Switch to the loop until something has happened. Raises TimeoutError, BlockingIOError."""
        if timeout is not None:
            if timeout == 0.0:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            # One timer for many waits: it is set anew when it finds that it was too early.
            clock = self._clock
            self._deadline = deadline = clock() + timeout
            if self._timer is None or deadline < self._timer_at:
                self._set_timer(timeout, deadline)
        self._burst = 0
        self._waiting = True
        switch = self._to_loop
        try:
            switch()
        finally:
            self._waiting = False
            self._deadline = 0.0
        if self._expired:
            self._expired = False
            raise TimeoutError("timed out")

    def _set_timer(self, seconds: float, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self.transport.call_later(seconds, self._timed)

    def _timed(self) -> None:
        self._timer = None
        deadline = self._deadline
        if not deadline:
            return  # nobody waits, or for ever
        left = deadline - self._clock()
        if left > 0.0:
            self._set_timer(left, deadline)
        else:
            self._expired = True
            self._resume()


def switched_protocol(
    handler: Callable[[Any, Any, Any], Any],
) -> Callable[[RequestContext], Any]:
    """Return what makes the protocol of a connection, from a blocking handler.

    A class that has a class method ``as_protocol(context)`` brings its own: it is called with the
    RequestContext of the connection, in the place of the greenlet. (Of a partial nobody could say what it
    does with the arguments.)
    """
    as_protocol: Callable[[RequestContext], Any] | None = getattr(handler, "as_protocol", None)
    return as_protocol or (lambda context: SwitchedProtocol(handler, context))
