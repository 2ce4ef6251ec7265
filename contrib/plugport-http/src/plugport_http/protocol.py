"""HTTPProtocol: drives the engine on a transport, as an asyncio.Protocol under any strategy.

It reads, writes, looks at the clock and ends connections; what a request is for is its subclass's business.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, Self

from plugport import RequestContext
from plugport.transports import call_later

from plugport_http.engine import (
    CLOSED,
    END_OF_MESSAGE,
    NEED_DATA,
    PAUSED,
    HTTPError,
    Request,
    ResponseHead,
    ServerConnection,
)
from plugport_http.settings import HTTPSettings
from plugport_http.sockets import MIN_DRAIN_WAIT, cut, drain_wait, has_unread_bytes, shut_down_reading
from plugport_http.timer import LazyTimer

__all__ = ["HTTPProtocol"]

#: Bytes that are read ahead of the request at hand.
_READ_AHEAD = 65536
#: Seconds in which a client that was refused can take the answer, while what it sends is dropped.
_LINGER = 2.0
#: Seconds that requests which come at once may take of the loop, before the others have their turn.
_MAX_TURN = 0.005


class HTTPProtocol(asyncio.Protocol, LazyTimer, HTTPSettings):
    """One connection. A subclass overrides request_received(), and may override the other *_received*.

    Requests come one at a time; the next comes after end_response() or send_response(), which may
    be called at once or later. The body of a request comes by body_received() and body_ended() after
    read_body(True), and rests after read_body(False); without either it is dropped.

    ``transport``; ``http``: the engine; ``can_write``: False while the client does not take what was
    written, so that a response should rest until writable().
    """

    http: ServerConnection

    def __init__(self) -> None:
        self.http = self.make_connection()
        self.can_write = True
        self._reads_body = False
        self._advancing = False
        self._reading = True
        self._lingering = False
        self._head_begun = False  # a part of a head is there
        self._closed = False  # by _close(): asyncio's TLS knows nothing any more after a second time
        #: The RequestContext of the connection; None where asyncio alone made the protocol.
        self._context: RequestContext | None = None
        self._sending = False  # by other means than the transport's write()
        self._progress = 0
        self._yielded = False  # its requests have had the loop for long enough; it goes on in the next turn
        self._mark = (0, 0)  # what was unsent, and the progress, when the deadline of sending was set

    @classmethod
    def for_request(cls, context: RequestContext) -> Self:
        """Make the protocol of a connection. (plugport.bridges)"""
        self = cls()
        self._context = context
        return self

    # What a subclass does ---------------------------------------------------------------------------

    def request_received(self, request: Request) -> None:
        """Begin to answer *request*. To be overridden."""
        raise NotImplementedError

    def body_received(self, data: bytes) -> None:
        """Take a piece of the body."""

    def body_ended(self) -> None:
        """The body is complete. It is called for requests without one, too, if it was asked for."""

    def writable(self) -> None:
        """Go on with a response that rested, for ``can_write`` was False."""

    def disconnected(self, error: Exception | None) -> None:
        """Release what the request at hand holds: the connection is lost."""

    # What a subclass calls --------------------------------------------------------------------------

    def read_body(self, on: bool) -> None:
        """Have the body come, or rest. The first time it tells a client that waits for it to go on."""
        self._reads_body = on
        if on:
            go_on = self.http.continue_response()
            if go_on:
                self.transport.write(go_on)
            self._advance()

    def send_response(self, head: ResponseHead, body: bytes = b"") -> None:
        """Send a whole response; the head says how long *body* is."""
        self.transport.write(self.http.send(head, body))
        self._response_ended()

    def start_response(self, head: ResponseHead, body: bytes = b"") -> None:
        """Send the head of a response, and the first piece of its body."""
        start = self.http.start_response(head)
        self.transport.write(start + self.http.send_body(body) if body else start)

    def send_body(self, data: bytes) -> None:
        """Send a piece of the response's body."""
        piece = self.http.send_body(data)
        if piece:
            self.transport.write(piece)

    def end_response(self) -> None:
        """End the response."""
        end = self.http.end_response()
        if end:
            self.transport.write(end)
        self._response_ended()

    def send_error(self, error: HTTPError, *headers: tuple[bytes, bytes]) -> None:
        """Refuse the request at hand; the connection ends."""
        self._deadline = None
        self.transport.write(self.http.error_response(error, headers))
        self._linger()

    def cut(self) -> None:
        """End the connection in a way that can't be taken for the end of a response."""
        cut(self.transport)

    # What the transport calls -----------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Keep the transport; the clock is running."""
        self._start_clock(transport)
        http, wait = self.http, self.header_timeout
        if self._context is not None:
            self._context.server.drain_callbacks.add(self.drain)
            http.keep_alive = not self._context.server.is_draining()
            http.client = self._context.client_address
            self.limit_timeouts(self._context.server.idle_timeout)
        self._set_deadline(wait if http.keep_alive else drain_wait(http, wait))

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        if self._lingering:
            return
        http = self.http
        if self.can_write and not self._advancing and not self._yielded:
            request = http.receive_repeated(data)
            if request is not None:
                self._advance(request)
                return
        http.receive_data(data)
        if (http.request is None or self._reads_body) and not self._yielded:
            self._advance()
        if http.request is not None or not self.can_write or self._yielded:
            self._check_read_ahead()

    def eof_received(self) -> bool:
        """Finish the response at hand, if there is one."""
        if self._lingering:
            return False
        self.http.receive_data(b"")
        if self.http.request is None or self._reads_body:
            self._advance()  # else the rest of a body waits for who wants it
        # asyncio's TLS can't be half-closed; plugport's, which has timers of its own, can.
        transport = self.transport
        half = hasattr(transport, "call_later") or transport.get_extra_info("ssl_object") is None
        return half and not transport.is_closing()

    def pause_writing(self) -> None:
        """The client does not take what was written."""
        self.can_write = False
        self._set_send_deadline()

    def resume_writing(self) -> None:
        """It has taken it."""
        self.can_write = True
        self._deadline = None
        if self._sending:
            self._set_send_deadline()
        elif self._lingering:
            self._set_deadline(_LINGER)
        if self.http.request is not None:
            self.writable()
        if self.can_write and self.http.request is None and not self._lingering:
            self._advance()
            self._check_read_ahead()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._stop_clock()
        if self._context is not None:
            self._context.server.drain_callbacks.discard(self.drain)
        self.http.connection_lost()
        self.disconnected(exc)

    def drain(self) -> None:
        """Have the next request be the last, and wait briefly for it. The serving thread calls this."""
        context: Any = self._context
        self.http.keep_alive = False
        if context.transport is not None:
            self.shorten_wait()
        elif self._is_awaiting_request():  # in another thread
            context.server.serving_loop.call_later(drain_wait(self.http, self.header_timeout), self._end_wait)

    def shorten_wait(self) -> None:
        """Wait no longer for a request than one takes that is on its way."""
        if self._is_awaiting_request() and not (self._closed or self._lost):
            self._set_deadline(
                drain_wait(self.http, self.header_timeout)
            ) if self.can_write else self._close()

    def _is_awaiting_request(self) -> bool:
        """Whether it waits for a request, of which nothing has come."""
        return not (self.http.request or self.http.buffered or self._lingering)

    def _end_wait(self) -> None:
        """Have the thread that has the connection see its end, once it has read what has come."""
        if self._is_awaiting_request() and not self._lost:
            shut_down_reading(self.transport)

    # Sending by other means -------------------------------------------------------------------------

    def sending(self, on: bool) -> None:
        """Say that the body is sent past write() from now on, or no more; see note_progress()."""
        self._sending = on
        if on:
            self._set_send_deadline()

    def note_progress(self) -> None:
        """Say that the client has taken something of what is sent so."""
        self._progress += 1
        if self._context is not None:
            self._context.active = True

    # The way of requests ----------------------------------------------------------------------------

    def _advance(self, request: Request | None = None) -> None:
        """Go on as far as what has come goes, with *request* first if the engine has given that already."""
        if self._advancing or self._lost:
            return  # whoever called whoever calls this goes on
        self._advancing = True
        http = self.http
        next_event = http.next_event
        ends = 0.0  # of its turn, if several requests have come at once
        try:
            while self.can_write or http.request is not None:
                event = request or next_event()
                request = None
                if event is NEED_DATA:
                    self._set_read_deadline()
                    break
                if type(event) is Request:
                    self._deadline = None
                    self._head_begun = False
                    self.request_received(event)
                    if http.request is not None and not self._reads_body:
                        break
                    if self.can_write and http.is_idle():
                        self._set_deadline(self.keep_alive_timeout)
                        break
                    now = monotonic()
                    if not ends:
                        ends = now + _MAX_TURN
                    elif now >= ends:  # the others come first
                        self._yielded = True
                        call_later(self.transport, 0.0, self._next_turn)
                        break
                elif type(event) is bytes:
                    self.body_received(event)
                    if not self._reads_body and http.request is not None:
                        self._deadline = None
                        break
                elif event is END_OF_MESSAGE:
                    self._deadline = None
                    if self._reads_body:
                        self._reads_body = False
                        self.body_ended()
                elif event is PAUSED:
                    break
                elif event is CLOSED:
                    if http.request is None:
                        self._end()
                    break
        except HTTPError as error:
            self.send_error(error)
        except Exception:
            if not self.transport.is_closing():
                self.transport.write(http.error_response(HTTPError(500, "")))
            raise
        finally:
            self._advancing = False

    def _next_turn(self) -> None:
        self._yielded = False
        self._advance()
        self._check_read_ahead()

    def _response_ended(self) -> None:
        http = self.http
        self._reads_body = False
        if not http.keep_alive and not http.is_reading_head:  # else the drain came when it was sent
            self._end()
            return
        if not self._advancing:
            self._advance()
            self._check_read_ahead()

    def _check_read_ahead(self) -> None:
        """Read no more than what the request at hand, or the client's slowness to take, leaves room for."""
        full = self.http.buffered > _READ_AHEAD and not self._lingering
        if full is self._reading and not self.transport.is_closing():
            self._reading = not full
            if full:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # The end ----------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Close when all is sent; a client that is still sending could lose it, so give it the time."""
        if self.http.dropped_input and not self.http.eof_received:
            self._linger()
        else:
            self._close()

    def _close(self) -> None:
        """Close when all is sent, and give the client its time to take it."""
        if self._closed:
            return
        self._closed = True
        unsent = self.transport.get_write_buffer_size()
        self.transport.close()
        if unsent:
            self._set_send_deadline()

    def _linger(self) -> None:
        transport = self.transport
        if transport.is_closing():
            return
        if self.http.eof_received:
            self._close()
            return
        self._lingering = True
        if not self._reading:
            self._reading = True
            transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        if transport.get_write_buffer_size():
            self._set_send_deadline()
        else:
            self._set_deadline(_LINGER)

    # The clock --------------------------------------------------------------------------------------

    def _set_read_deadline(self) -> None:
        """The client has to send what is asked for: the body, the rest of a head, or another request."""
        http = self.http
        if http.request is not None:
            if self._reads_body:
                self._set_deadline(self.body_timeout)
        elif not http.is_reading_head:
            self._set_deadline(self.body_timeout)  # of a body that is dropped
        elif not http.buffered:
            if http.requests:
                self._set_deadline(self.keep_alive_timeout)
        elif not self._head_begun:
            self._head_begun = True
            self._set_deadline(self.header_timeout)

    def _set_send_deadline(self) -> None:
        """The client has to take something of what is sent."""
        self._mark = (self.transport.get_write_buffer_size(), self._progress)
        self._set_deadline(self.send_timeout)

    def _deadline_passed(self) -> None:
        http, transport = self.http, self.transport
        if self._lingering and not transport.get_write_buffer_size():
            transport.abort()
        elif self._lingering or not self.can_write or self._sending or transport.is_closing():
            if self._mark == (transport.get_write_buffer_size(), self._progress):
                transport.abort()
            else:
                self._set_send_deadline()
        elif http.request is not None:
            self.send_error(HTTPError(408, "the body does not come"))
        elif http.buffered and http.is_reading_head:
            self.send_error(HTTPError(408, "the request does not come"))
        elif not self._closed and has_unread_bytes(transport):
            self._set_deadline(MIN_DRAIN_WAIT)  # the loop has not come to it yet
        else:
            self._close()
