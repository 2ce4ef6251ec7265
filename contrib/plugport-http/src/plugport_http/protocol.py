"""HTTPProtocol: drives the engine on a transport, as an asyncio.Protocol under any strategy.

It reads, writes, enforces the timeouts and closes connections. Subclasses answer the requests.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, Self

from plugport import RequestContext
from plugport.transports import call_later

from plugport_http.callbacks import RequestCallbacks
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
from plugport_http.sockets import (
    MIN_DRAIN_WAIT,
    drain_wait,
    has_unread_bytes,
    reset_connection,
    shut_down_reading,
)
from plugport_http.timer import LazyTimer

__all__ = ["HTTPProtocol"]

#: Bytes to buffer beyond the current request before reading is paused.
_READ_AHEAD = 65536
#: Seconds to wait after an error response for the client to close; its input is dropped. (RFC 9112, 9.6)
_LINGER = 2.0
#: Seconds that one connection's pipelined requests may run before other connections have their turn.
_MAX_TURN = 0.005


class HTTPProtocol(asyncio.Protocol, RequestCallbacks, LazyTimer, HTTPSettings):
    """The protocol of one connection. A subclass overrides request_received() and other callbacks.

    There is one request at a time: the next one is passed on after end_response() or send_response(), which
    may be called at once or later. After read_body(True) the body is passed to body_received() and
    body_ended(); read_body(False) pauses it. A body that is not read is dropped.

    ``transport`` is the transport and ``http`` the engine. While ``can_write`` is False the client does not
    take the data that was written: pause the response until writable() is called.
    """

    http: ServerConnection

    def __init__(self) -> None:
        self.http = self.make_connection()
        self.can_write = True
        self._reads_body = False
        self._advancing = False
        self._reading = True
        self._lingering = False
        self._has_partial_head = False
        self._closed = False  # by _close(): a second close() breaks asyncio's TLS transport
        #: The request record of the connection; None if asyncio made the protocol without plugport.
        self._context: RequestContext | None = None
        self._sends_directly = False  # by other means than transport.write()
        self._progress = 0
        self._yielded = False  # the next request waits for the loop's next turn
        self._send_mark = (0, 0)  # unsent bytes and progress when the send deadline was set

    @classmethod
    def for_request(cls, context: RequestContext) -> Self:
        """Return the protocol of a connection. (HandlerTraits)"""
        self = cls()
        self._context = context
        return self

    # Methods for subclasses to call -----------------------------------------------------------------

    def read_body(self, on: bool) -> None:
        """Read the body, or pause it. The first call sends 100 Continue if the client waits for it."""
        self._reads_body = on
        if on:
            interim = self.http.continue_response()
            if interim:
                self.transport.write(interim)
            self._advance()

    def send_response(self, head: ResponseHead, body: bytes = b"") -> None:
        """Send a whole response; the Content-Length of *head* is the length of *body*."""
        self.transport.write(self.http.send(head, body))
        self._response_ended()

    def start_response(self, head: ResponseHead, body: bytes = b"") -> None:
        """Send the head of a response and the first piece of its body."""
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
        """Answer the current request with an error and close the connection."""
        self._deadline = None
        self.transport.write(self.http.error_response(error, headers))
        self._linger()

    def reset(self) -> None:
        """Reset the connection, so that an incomplete response does not look complete to the client."""
        reset_connection(self.transport)

    # Called by the transport ------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Keep the transport and start the timeouts."""
        self._start_clock(transport)
        http, wait = self.http, self.header_timeout
        if self._context is not None:
            server = self._context.server
            server.drain_callbacks.add(self.drain)
            http.keep_alive = not server.is_draining()
            http.client = self._context.client_address
            self.limit_timeouts(server.idle_timeout)
        self._set_deadline(wait if http.keep_alive else drain_wait(http, wait))

    def data_received(self, data: bytes) -> None:
        """Pass received bytes to the engine, and handle its events."""
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
        """Keep the connection open until the current response is complete."""
        if self._lingering:
            return False
        self.http.receive_data(b"")
        if self.http.request is None or self._reads_body:
            self._advance()  # else the rest of the body stays in the buffer until it is read
        # asyncio's TLS can't be half-closed; that of plugport's transports, which have call_later(), can.
        transport = self.transport
        can_half_close = hasattr(transport, "call_later") or transport.get_extra_info("ssl_object") is None
        return can_half_close and not transport.is_closing()

    def pause_writing(self) -> None:
        """Stop writing: the client does not take the data that was written."""
        self.can_write = False
        self._set_send_deadline()

    def resume_writing(self) -> None:
        """Write again: the client has taken the data."""
        self.can_write = True
        self._deadline = None
        if self._sends_directly:
            self._set_send_deadline()
        elif self._lingering:
            self._set_deadline(_LINGER)
        if self.http.request is not None:
            self.writable()
        if self.can_write and self.http.request is None and not self._lingering:
            self._advance()
            self._check_read_ahead()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release everything."""
        self._stop_clock()
        if self._context is not None:
            self._context.server.drain_callbacks.discard(self.drain)
        self.http.connection_lost()
        self.disconnected(exc)

    def drain(self) -> None:
        """Make the next request the last one, and wait for it only briefly. Called in the serving thread."""
        context = self._context
        assert context is not None
        self.http.keep_alive = False
        if context.transport is not None:
            self.shorten_wait()
        elif self._is_awaiting_request():  # the connection belongs to another thread
            loop = context.server.serving_loop
            assert loop is not None
            loop.call_later(drain_wait(self.http, self.header_timeout), self._end_wait)

    def shorten_wait(self) -> None:
        """Shorten the wait for a request to the time that one on its way needs."""
        if self._is_awaiting_request() and not (self._closed or self._lost):
            if self.can_write:
                self._set_deadline(drain_wait(self.http, self.header_timeout))
            else:
                self._close()

    def _is_awaiting_request(self) -> bool:
        """Return whether the connection waits for a request and has no byte of it."""
        return not (self.http.request or self.http.buffered or self._lingering)

    def _end_wait(self) -> None:
        """End the wait of the connection's thread, after it has read what has arrived."""
        if self._is_awaiting_request() and not self._lost:
            shut_down_reading(self.transport)

    # Sending without transport.write() --------------------------------------------------------------

    def set_direct_sending(self, on: bool) -> None:
        """Begin or end to send the body without transport.write(), by sendfile(2) for example."""
        self._sends_directly = on
        if on:
            self._set_send_deadline()

    def note_progress(self) -> None:
        """Record that the client has taken some of the data that is sent directly."""
        self._progress += 1
        if self._context is not None:
            self._context.active = True

    # Events of the engine ---------------------------------------------------------------------------

    def _advance(self, request: Request | None = None) -> None:
        """Handle the engine's events, beginning with *request* if the engine has returned it already."""
        if self._advancing or self._lost:
            return  # an outer call is in the loop below
        self._advancing = True
        http = self.http
        next_event = http.next_event
        turn_end = 0.0  # set after the first of several requests in the buffer
        try:
            while self.can_write or http.request is not None:
                event = request or next_event()
                request = None
                if event is NEED_DATA:
                    self._set_read_deadline()
                    break
                if type(event) is Request:
                    self._deadline = None
                    self._has_partial_head = False
                    self.request_received(event)
                    if http.request is not None and not self._reads_body:
                        break
                    if self.can_write and http.is_idle():
                        self._set_deadline(self.keep_alive_timeout)
                        break
                    now = monotonic()
                    if not turn_end:
                        turn_end = now + _MAX_TURN
                    elif now >= turn_end:
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
        if not http.keep_alive and not http.is_reading_head:  # is_reading_head: the drain began just now
            self._end()
            return
        if not self._advancing:
            self._advance()
            self._check_read_ahead()

    def _check_read_ahead(self) -> None:
        """Pause reading while too much is buffered beyond the current request, or resume it."""
        full = self.http.buffered > _READ_AHEAD and not self._lingering
        if full is self._reading and not self.transport.is_closing():
            self._reading = not full
            if full:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # The end ----------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Close when all is sent. Linger if input was dropped: a reset could destroy the response."""
        if self.http.dropped_input and not self.http.eof_received:
            self._linger()
        else:
            self._close()

    def _close(self) -> None:
        """Close when all is sent, within the send timeout."""
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

    # Timeouts ---------------------------------------------------------------------------------------

    def _set_read_deadline(self) -> None:
        """Set the deadline for the client to send the body, the rest of a head, or another request."""
        http = self.http
        if http.request is not None:
            if self._reads_body:
                self._set_deadline(self.body_timeout)
        elif not http.is_reading_head:
            self._set_deadline(self.body_timeout)  # the body is dropped
        elif not http.buffered:
            if http.requests:
                self._set_deadline(self.keep_alive_timeout)
        elif not self._has_partial_head:
            self._has_partial_head = True
            self._set_deadline(self.header_timeout)

    def _set_send_deadline(self) -> None:
        """Set the deadline for the client to take some of the data that is sent."""
        self._send_mark = (self.transport.get_write_buffer_size(), self._progress)
        self._set_deadline(self.send_timeout)

    def _deadline_passed(self) -> None:
        http, transport = self.http, self.transport
        if self._lingering and not transport.get_write_buffer_size():
            transport.abort()
        elif self._lingering or not self.can_write or self._sends_directly or transport.is_closing():
            if self._send_mark == (transport.get_write_buffer_size(), self._progress):
                transport.abort()
            else:
                self._set_send_deadline()
        elif http.request is not None:
            self.send_error(HTTPError(408, "the body did not arrive in time"))
        elif http.buffered and http.is_reading_head:
            self.send_error(HTTPError(408, "the request did not arrive in time"))
        elif not self._closed and has_unread_bytes(transport):
            self._set_deadline(MIN_DRAIN_WAIT)  # the loop is about to read them
        else:
            self._close()
