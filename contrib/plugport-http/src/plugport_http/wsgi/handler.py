"""WSGIHandler: serves a WSGI application on a connection, under every strategy."""

from __future__ import annotations

import inspect
from time import monotonic
from typing import ClassVar

from plugport import BaseRequestHandler, RequestContext
from plugport.contracts import Server
from plugport.serving import SwitchedProtocol

from plugport_http.engine import CLOSED, NEED_DATA, HTTPError, Request
from plugport_http.settings import HTTPSettings
from plugport_http.sockets import drain_wait
from plugport_http.wsgi.blocking import BlockingConnection, blocking_connection
from plugport_http.wsgi.body import BodyError
from plugport_http.wsgi.protocol import WSGIProtocol
from plugport_http.wsgi.responder import Responder
from plugport_http.wsgi.settings import WSGISettings

__all__ = ["WSGIHandler"]

#: Bytes to read at once when a head is expected.
_HEAD_CHUNK = 16384
#: Seconds to wait after the last response for the client to close; its input is dropped. (RFC 9112, 9.6)
_LINGER = 2.0


class WSGIHandler(Responder, BaseRequestHandler):
    """Serves a WSGI application (PEP 3333): handles the requests of a connection one after the other."""

    transports = frozenset({"stream"})

    _protocol_class: ClassVar[type[WSGIProtocol] | None]
    _connection: BlockingConnection

    @classmethod
    def as_protocol(cls, context: RequestContext) -> WSGIProtocol | SwitchedProtocol:
        """Return the protocol for a connection in a loop. (HandlerTraits)"""
        if "_protocol_class" not in vars(cls):
            cls._protocol_class = _protocol_class(cls)
        if cls._protocol_class is None:
            return SwitchedProtocol(cls, context)
        return cls._protocol_class.for_request(context)

    def setup(self) -> None:
        """Make the engine and the objects that all requests of the connection share."""
        server: Server = self.server
        self._keep_alive_timeout = self.keep_alive_timeout
        http = self.make_connection()
        connection = blocking_connection(self.request, self.send_timeout, server.idle_timeout)
        http.client = self.client_address
        # For foreign TLS sockets it is unknown here whether the handshake is over.
        tls = self.request if server.server_traits.secure else None
        self._connection = connection
        self._prepare(http, connection, server, self.request, tls, self.client_address)
        self._idle = self._draining = False
        server.drain_callbacks.add(self._drain)
        if server.is_draining():  # checked after add(), so that no drain is missed
            self._drain()

    def finish(self) -> None:
        """Release the server."""
        self.server.drain_callbacks.discard(self._drain)
        self._http.connection_lost()
        self._environ_builder.errors.flush()

    def handle(self) -> None:
        """Serve requests until the client or a limit ends it."""
        http = self._http
        try:
            while (request := self._next_request()) is not None:
                self._respond(request)
                self._respond_repeated(request)
        except TimeoutError:
            if self._connection.failure is not None:
                raise
            # else there was no further request
        if http.dropped_input and not http.eof_received:
            self._connection.linger(_LINGER)

    # Requests ---------------------------------------------------------------------------------------

    def _next_request(self) -> Request | None:
        """Wait for a request, and only briefly for its first byte if the server drains; None at the end."""
        http = self._http
        head_start = 0.0  # when the first byte of the head arrived
        try:
            while True:
                if http.is_idle():
                    timeout = self._keep_alive_timeout if http.requests else self.header_timeout
                    self._idle = True
                    if self._draining:  # checked after _idle is set, so that no drain is missed
                        timeout = drain_wait(http, timeout)
                    data = self._connection.receive(timeout, _HEAD_CHUNK)
                    self._idle = False
                    http.receive_data(data)
                event = http.next_event()
                if type(event) is Request:
                    return event
                if event is CLOSED:
                    return None
                if event is NEED_DATA and not http.is_idle():
                    if http.is_reading_head:
                        head_start = head_start or monotonic()
                        data = self._receive_head(head_start + self.header_timeout - monotonic())
                    else:
                        data = self._connection.receive(self.body_timeout)  # dropped by the engine
                    http.receive_data(data)
        except HTTPError as error:
            self._connection.send(http.error_response(error))
        return None

    def _respond_repeated(self, request: Request) -> None:
        """Answer the following requests while each repeats *request*, byte for byte.

        This is a shorter form of the loop in handle(), which takes over when something else is received.
        """
        http = self._http
        if not http.is_repeatable(request):
            return
        receive, repeated, respond = self._connection.receive, http.receive_repeated, self._exchange.respond
        environ, timeout = self._environ_builder.last_environ, self._keep_alive_timeout
        # With keep_alive the engine is idle here: a repeatable request has no body and nothing after it, and
        # _fail() closes the connection after an incomplete response.
        while True:
            self._idle = True
            if not http.keep_alive:  # checked after _idle is set, so that no drain is missed
                self._idle = False
                return
            data = receive(timeout, _HEAD_CHUNK)
            self._idle = False
            if repeated(data) is not request:
                http.receive_data(data)
                return
            try:
                respond(environ.copy(), request)
            except Exception as error:
                self._fail(request, error)

    def _receive_head(self, timeout: float) -> bytes:
        try:
            return self._connection.receive(max(timeout, 0.001), _HEAD_CHUNK)
        except TimeoutError:
            raise HTTPError(408, "the request did not arrive in time") from None

    def _drain(self) -> None:
        """Make the next request the last one, and wait for it only briefly.

        Called in the serving thread, not in the thread of the connection.
        """
        http, loop = self._http, self.server.serving_loop
        self._draining = True
        http.keep_alive = False
        if self._idle and loop is not None:
            loop.call_later(drain_wait(http, self.header_timeout), self._end_wait)

    def _end_wait(self) -> None:
        if self._idle:
            self._connection.shut_down_reading()  # bytes that have arrived are read first

    def _next_piece(self, number: int) -> bytes:
        http = self._http
        if self._body_error is not None:
            raise BodyError(str(self._body_error))
        try:
            while http.request is not None and http.requests == number:
                event = http.next_event()
                if type(event) is bytes:
                    return event
                if event is not NEED_DATA:
                    break
                interim = http.continue_response()
                if interim:
                    self._connection.send(interim)
                try:
                    http.receive_data(self._connection.receive(self.body_timeout))
                except TimeoutError:
                    raise HTTPError(408, "the body did not arrive in time") from None
        except HTTPError as error:
            self._body_error = error
            raise BodyError(str(error)) from error
        return b""


def _protocol_class(handler_class: type[WSGIHandler]) -> type[WSGIProtocol] | None:
    """Return a protocol class with the settings of *handler_class*; None if that overrides methods."""
    for name in ("__init__", "setup", "handle", "finish", "make_connection"):
        if inspect.getattr_static(handler_class, name) is not inspect.getattr_static(WSGIHandler, name):
            return None
    names = (*HTTPSettings.__annotations__, *WSGISettings.__annotations__)
    members = {
        name: inspect.getattr_static(handler_class, name) for name in names if hasattr(handler_class, name)
    }
    return type("WSGIProtocol", (WSGIProtocol,), members)
