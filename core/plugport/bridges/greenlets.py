"""blocking -> protocol: the handler runs in a greenlet, and the loop runs where the handler would block.

The handler's request looks like the socket that it expects. If the handler waits for anything else, as a
sleep or a database, it blocks the loop: nothing is patched.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Any

import greenlet

from plugport.bridges.inline import BlockingHandler, ProtocolFactory
from plugport.bridges.switched_socket import SwitchedSocket
from plugport.contracts.interfaces import Buffer, DetachableTransport
from plugport.contracts.loops import TimerHandle
from plugport.contracts.requests import RequestContext
from plugport.contracts.traits import handler_traits
from plugport.transports import clock_of

__all__ = ["SwitchedProtocol", "SwitchedSocket", "switched_protocol"]

#: Unread bytes above which reading is paused.
_HIGH_WATER = 262144
#: Bytes that a handler may write before the loop runs for other connections.
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

    transport: DetachableTransport
    _clock: Callable[[], float]
    _to_loop: Callable[[], object]  # switches to the loop's greenlet

    def __init__(self, handler: BlockingHandler, context: RequestContext) -> None:
        self._handler = handler
        self._context = context
        self._greenlet: Any = None
        self._waiting = False  # the handler waits, and the loop runs
        self._paused = False  # too much data is unsent
        self._wanted = 0  # bytes that the handler waited for last
        self._burst = 0  # bytes written since the loop ran last
        self._reading_paused = False
        self._deadline = 0.0  # of the current wait, by the transport's clock; 0.0: none
        self._expired = False
        self._timer: TimerHandle | None = None
        self._timer_at = 0.0
        self._lost: Exception | None = None
        self.unread: bytes | bytearray = b""
        self.eof = False

    # Called by the loop -------------------------------------------------------------------------

    def connection_made(self, transport: DetachableTransport) -> None:
        """Start the handler; it runs until it must wait."""
        self.transport = transport
        self._clock = clock_of(transport)
        self._to_loop = greenlet.getcurrent().switch
        self._greenlet = greenlet.greenlet(self._run)
        self._greenlet.switch()

    def data_received(self, data: bytes) -> None:
        """Keep *data* for the handler, and switch to the handler if it waits."""
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
        """Have the handler read the end; the connection stays open for its reply."""
        self.eof = True
        self._resume()
        return True

    def pause_writing(self) -> None:
        """Have write() wait."""
        self._paused = True

    def resume_writing(self) -> None:
        """Have write() continue."""
        self._paused = False
        self._resume()

    def connection_lost(self, error: Exception | None) -> None:
        """Have the handler's calls raise or return; none of them waits from now on."""
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
        request: Any = SwitchedSocket(self)
        try:
            self._handler(request, context.client_address, server)
        except Exception as error:
            # What the handler has written before is still sent, as by a blocking server.
            server.handle_failure(context.request, context.client_address, error)
        except (SystemExit, greenlet.GreenletExit) as error:
            server.fail_request(context.request, error)  # ends this request alone, as it would end a thread
        finally:
            self.transport.close()

    # Called by the handler, in its greenlet --------------------------------------------------------

    def wait_for_data(self, count: int, timeout: float | None) -> None:
        """Wait until *count* bytes can be read, or the stream has ended.

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
        """Wait for data, and return up to *count* bytes of it; b"" at the end."""
        data = self.unread
        if not data:
            self.wait_for_data(1, timeout)
            data = self.unread
        if type(data) is bytes and len(data) <= count:
            self.unread = b""
            return data
        return self.take(count)

    def take(self, count: int) -> bytes:
        """Remove up to *count* bytes from the unread ones, and return them."""
        data = self.unread
        if len(data) <= count:
            self.unread = b""
            return data if type(data) is bytes else bytes(data)
        data = self._unread_array()
        piece = bytes(data[:count])
        del data[:count]
        return piece

    def _unread_array(self) -> bytearray:
        # A bytearray grows at its end and shrinks at its start without copying the rest.
        if not isinstance(self.unread, bytearray):
            self.unread = bytearray(self.unread)
        return self.unread

    def write(self, data: Buffer, timeout: float | None) -> None:
        """Pass *data* to the transport; wait first while too much data is unsent."""
        while self._paused:  # before write(), so that a call that times out has sent nothing
            self._wait(timeout)
        if self._burst > _MAX_BURST:
            # A client that reads fast must not keep the loop from other connections.
            self.transport.call_soon(self._resume)
            self._wait(None)
        if self._lost is not None:
            raise self._lost
        self.transport.write(data)
        self._burst += len(data)

    def end_reading(self) -> None:
        """End the stream that is read. The loop may call this too, while the handler waits for data."""
        self.eof = True
        self._resume()

    def write_eof(self) -> None:
        """End the stream that is sent."""
        self._lost = self._lost or BrokenPipeError(errno.EPIPE, "Broken pipe")
        self.transport.write_eof()

    def detach(self) -> int:
        """Remove the connection from the loop, and return its descriptor, which blocks from now on."""
        sock = self.transport.detach()
        sock.setblocking(True)
        return sock.detach()

    def _wait(self, timeout: float | None) -> None:
        """Run the loop until something happens. Raises TimeoutError, BlockingIOError."""
        if timeout is not None:
            if timeout == 0.0:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            # One timer serves many waits: if it fires too early, it is set again.
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
            return  # the handler does not wait, or without a deadline
        left = deadline - self._clock()
        if left > 0.0:
            self._set_timer(left, deadline)
        else:
            self._expired = True
            self._resume()


def switched_protocol(handler: BlockingHandler) -> ProtocolFactory:
    """Return a factory of the protocol of a connection, from a blocking handler.

    The class method ``as_protocol(context)`` of a handler, if there is one, makes the protocol, without a
    greenlet. That of a handler in a functools.partial is not called: it would not get the arguments.
    """
    as_protocol = None if isinstance(handler, partial) else handler_traits(handler).as_protocol
    return as_protocol or (lambda context: SwitchedProtocol(handler, context))
