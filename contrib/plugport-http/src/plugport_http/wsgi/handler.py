"""WSGIHandler: serves a WSGI application on a connection, under every strategy."""

from __future__ import annotations

import inspect
from time import monotonic
from typing import Any, ClassVar

from plugport import BaseRequestHandler, RequestContext
from plugport.serving import SwitchedProtocol

from plugport_http.engine import CLOSED, NEED_DATA, HTTPError, Request
from plugport_http.settings import HTTPSettings
from plugport_http.sockets import drain_wait
from plugport_http.wsgi.body import BodyError
from plugport_http.wsgi.link import Link, make_link
from plugport_http.wsgi.protocol import WSGIProtocol
from plugport_http.wsgi.responder import Responder
from plugport_http.wsgi.settings import WSGISettings

__all__ = ["WSGIHandler"]

#: Bytes that are read at once where a head is expected.
_HEAD_CHUNK = 16384
#: Seconds in which a client that still sends can take the last response.
_LINGER = 2.0


class WSGIHandler(Responder, BaseRequestHandler):
    """Serves a WSGI application (PEP 3333): one request after the other, as they come on the connection."""

    transports = frozenset({"stream"})

    _protocol_class: ClassVar[type[WSGIProtocol] | None]
    _link: Link

    @classmethod
    def as_protocol(cls, context: RequestContext) -> Any:
        """Make the protocol of a connection that lives in a loop. (plugport.bridges.greenlets)"""
        if "_protocol_class" not in vars(cls):
            cls._protocol_class = _protocol_class(cls)
        if cls._protocol_class is None:
            return SwitchedProtocol(cls, context)
        return cls._protocol_class.for_request(context)

    def setup(self) -> None:
        """Make the engine, and what stays the same for all requests of the connection."""
        server = self.server
        self._keep_alive_timeout = self.keep_alive_timeout
        http, link = self.make_connection(), make_link(self.request, self.send_timeout, server.idle_timeout)
        http.client = self.client_address
        # Of others' connections over TLS it is not known here whether their handshake is over.
        tls = self.request if server.secure else None
        self._prepare(http, link, server, self.request, tls, self.client_address)
        self._idle = self._draining = False
        server.drain_callbacks.add(self._drain)
        if server.is_draining():  # after that: it is told, or sees it
            self._drain()

    def finish(self) -> None:
        """Let go of the server."""
        self.server.drain_callbacks.discard(self._drain)
        self._http.connection_lost()
        self._environ_builder.errors.flush()

    def handle(self) -> None:
        """Serve requests until the client or a limit ends it."""
        http = self._http
        try:
            while (request := self._next_request()) is not None:
                self._answer(request)
                self._respond_repeated(request)
        except TimeoutError:
            if self._link.failure is not None:
                raise
            # else no request has come
        if http.dropped_input and not http.eof_received:
            self._link.linger(_LINGER)

    # Requests ---------------------------------------------------------------------------------------

    def _next_request(self) -> Request | None:
        """Wait for a request; not long for one of which nothing has come, where the server drains."""
        http = self._http
        begun = 0.0  # when the head at hand began to come
        try:
            while True:
                if http.is_idle():
                    timeout = self._keep_alive_timeout if http.requests else self.header_timeout
                    self._idle = True
                    if self._draining:  # after _idle is set: _drain() sees that, or this what _drain() sets
                        timeout = drain_wait(http, timeout)
                    data = self._link.receive(timeout, _HEAD_CHUNK)
                    self._idle = False
                    http.receive_data(data)
                event = http.next_event()
                if type(event) is Request:
                    return event
                if event is CLOSED:
                    return None
                if event is NEED_DATA and not http.is_idle():
                    if http.is_reading_head:
                        begun = begun or monotonic()
                        data = self._receive_more(begun + self.header_timeout - monotonic())
                    else:
                        data = self._link.receive(self.body_timeout)  # to be dropped
                    http.receive_data(data)
        except HTTPError as error:
            self._link.send(http.error_response(error))
        return None

    def _respond_repeated(self, request: Request) -> None:
        """Answer what comes next as long as it is *request* again, byte for byte: most clients ask so.

        It is what handle() does, by less. What else comes is left to that.
        """
        http = self._http
        if not http.is_repeatable(request):
            return
        receive, again, respond = self._link.receive, http.receive_repeated, self._exchange.respond
        environ, timeout = self._environ_builder.last_environ, self._keep_alive_timeout
        # While the connection is kept the engine rests, for what it knows has neither a body nor anything
        # behind it, and _fail() keeps no connection whose response is not complete.
        while True:
            self._idle = True
            if not http.keep_alive:  # after _idle is set: _drain() sees that, or this what _drain() sets
                self._idle = False
                return
            data = receive(timeout, _HEAD_CHUNK)
            self._idle = False
            if again(data) is not request:
                http.receive_data(data)
                return
            try:
                respond(environ.copy(), request)
            except Exception as error:
                self._fail(request, error)

    def _receive_more(self, left: float) -> bytes:
        try:
            return self._link.receive(max(left, 0.001), _HEAD_CHUNK)
        except TimeoutError:
            raise HTTPError(408, "the request does not come") from None

    def _drain(self) -> None:
        """The server drains: have the next request be the last, and wait briefly for it.

        The serving thread calls it, and not the one that has the connection.
        """
        http, loop = self._http, self.server.serving_loop
        self._draining = True
        http.keep_alive = False
        if self._idle and loop is not None:
            loop.call_later(drain_wait(http, self.header_timeout), self._end_wait)

    def _end_wait(self) -> None:
        if self._idle:
            self._link.shut_down_reading()  # what has come is read yet

    def _next_piece(self, number: int) -> bytes:
        """Return the next piece of the body of request *number*, b"" at its end and when it was answered."""
        http = self._http
        if self._refusal is not None:
            raise BodyError(str(self._refusal))
        try:
            while http.request is not None and http.requests == number:
                event = http.next_event()
                if type(event) is bytes:
                    return event
                if event is not NEED_DATA:
                    break
                go_on = http.continue_response()
                if go_on:
                    self._link.send(go_on)
                try:
                    http.receive_data(self._link.receive(self.body_timeout))
                except TimeoutError:
                    raise HTTPError(408, "the body does not come") from None
        except HTTPError as error:
            self._refusal = error
            raise BodyError(str(error)) from error
        return b""


def _protocol_class(handler_class: type[WSGIHandler]) -> type[WSGIProtocol] | None:
    """Return the protocol class with the settings of *handler_class*; None for one with ways of its own."""
    for name in ("__init__", "setup", "handle", "finish", "make_connection"):
        if inspect.getattr_static(handler_class, name) is not inspect.getattr_static(WSGIHandler, name):
            return None
    names = (*HTTPSettings.__annotations__, *WSGISettings.__annotations__)
    members = {
        name: inspect.getattr_static(handler_class, name) for name in names if hasattr(handler_class, name)
    }
    return type("WSGIProtocol", (WSGIProtocol,), members)
