"""WSGIHandler: serves a WSGI application on a connection, under every strategy."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, ClassVar

from plugport import BaseRequestHandler, RequestContext

from plugport_http.engine import CLOSED, NEED_DATA, HTTPError, Request, ServerConnection
from plugport_http.settings import HTTPSettings
from plugport_http.wsgi.body import InputStream
from plugport_http.wsgi.environ import Environs
from plugport_http.wsgi.link import Link, make_link
from plugport_http.wsgi.protocol import Begun, WSGIProtocol
from plugport_http.wsgi.response import Exchange
from plugport_http.wsgi.settings import WSGISettings

__all__ = ["WSGIHandler"]

logger = logging.getLogger("plugport.http.wsgi")

#: Bytes that are read at once where a head is expected.
_HEAD_CHUNK = 16384
#: Seconds in which a client that still sends can take the last response.
_LINGER = 2.0


class BodyError(OSError):
    """What an application is told that reads a body which is malformed, too long, or does not come."""


class WSGIHandler(WSGISettings, BaseRequestHandler):
    """Serves a WSGI application (PEP 3333): one request after the other, as they come on the connection.

    *begun*: the connection has a WSGIProtocol, and comes from there.
    """

    transports = frozenset({"stream"})

    _protocol_class: ClassVar[type[WSGIProtocol]]

    @classmethod
    def as_protocol(cls, context: RequestContext) -> WSGIProtocol:
        """Make the protocol of a connection that lives in a loop. (plugport.bridges.greenlets)"""
        if "_protocol_class" not in vars(cls):
            settings = (*HTTPSettings.__annotations__, *WSGISettings.__annotations__)
            members = {name: inspect.getattr_static(cls, name) for name in settings if hasattr(cls, name)}
            cls._protocol_class = type("WSGIProtocol", (WSGIProtocol,), {**members, "handler_class": cls})
        return cls._protocol_class.for_request(context)

    def __init__(self, request: Any, client_address: Any, server: Any, begun: Begun | None = None) -> None:
        self._begun = begun
        super().__init__(request, client_address, server)

    def setup(self) -> None:
        """Make the engine, and what stays the same for all requests of the connection."""
        server, begun = self.server, self._begun
        # What is asked for again and again is found sooner here than on a class or a server.
        assert self.application is not None
        self._application: Callable[..., Any] = self.application
        self._keep_alive_timeout = self.keep_alive_timeout
        self._is_draining: Callable[[], bool] = server.is_draining
        self._link: Link = make_link(self.request, self.send_timeout, server.idle_timeout)
        if begun is None:
            self._http: ServerConnection = self.make_connection()
            self._http.client = self.client_address
            self._environs = Environs(server, self.request, self.client_address, self.script_name)
            self._exchange = Exchange(self._http, self._link)
        else:
            self._http, self._environs, self._exchange = begun.http, begun.environs, begun.exchange
            self._exchange.link = self._link
        self._refusal: HTTPError | None = None
        self._idle = False
        server.drain_calls.add(self._end_wait)

    def finish(self) -> None:
        """Let go of the server."""
        self.server.drain_calls.discard(self._end_wait)
        self._http.lost()
        self._environs.errors.flush()

    def handle(self) -> None:
        """Serve requests until the client or a limit ends it."""
        http = self._http
        if self._begun is not None:
            self._begun.first(self)
        while http.keep_alive or not http.requests:
            request = self._next_request()
            if request is None:
                break
            self.answer(request)
        if http.dropped_input and not http.eof_received:
            self._link.linger(_LINGER)

    # Requests ---------------------------------------------------------------------------------------

    def _next_request(self) -> Request | None:
        """Wait for a request. A server that drains waits for a connection's first one only."""
        http = self._http
        begun = 0.0  # when the head at hand began to come
        try:
            while True:
                if http.rests():
                    if http.requests:
                        self._idle = True
                        is_draining = self._is_draining
                        if is_draining():  # after _idle is set: one of the two sees it
                            self._link.end_reading()  # what has come is read yet
                        data = self._link.receive(self._keep_alive_timeout, _HEAD_CHUNK)
                        self._idle = False
                    else:
                        data = self._link.receive(self.header_timeout, _HEAD_CHUNK)
                    request = http.receive_again(data)
                    if request is not None:
                        return request
                    http.receive_data(data)
                event = http.next_event()
                if type(event) is Request:
                    return event
                if event is CLOSED:
                    return None
                if event is NEED_DATA and not http.rests():
                    if http.reads_head:
                        begun = begun or monotonic()
                        data = self._receive_more(begun + self.header_timeout - monotonic())
                    else:
                        data = self._link.receive(self.body_timeout)  # to be dropped
                    http.receive_data(data)
        except HTTPError as error:
            self._link.send(http.error_response(error))
        except TimeoutError:
            if self._link.failure is not None:
                raise
        return None

    def _receive_more(self, left: float) -> bytes:
        try:
            return self._link.receive(max(left, 0.001), _HEAD_CHUNK)
        except TimeoutError:
            raise HTTPError(408, "the request does not come") from None

    def _end_wait(self) -> None:
        """The server drains: wait for no other request."""
        if self._idle:
            self._link.end_reading()

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

    # Responses --------------------------------------------------------------------------------------

    def answer(self, request: Request) -> None:
        """Call the application for a request, and send what it answers with."""
        http = self._http
        environ = self._environs.of(request)
        if request.content_length != 0:
            environ["wsgi.input"] = InputStream(partial(self._next_piece, http.requests))
        is_draining = self._is_draining
        if is_draining():
            http.keep_alive = False
        exchange = self._exchange
        try:
            whole = exchange.call(self._application, environ, request)
            if whole is not None:
                self._link.send(whole)
                return
        except Exception as error:
            self.fail(request, error)
            return
        self.send_result(request)

    def send_result(self, request: Request) -> None:
        """Send what the application has returned, where it was called already."""
        try:
            self._exchange.send_result()
        except Exception as error:
            self.fail(request, error)

    def fail(self, request: Request, error: Exception) -> None:
        """The application has failed, or the connection under it: say so, to whom it concerns."""
        http, link = self._http, self._link
        if link.failure is not None:
            raise link.failure
        what = f"{request.method} {request.path.decode('latin-1')}"
        refusal, self._refusal = self._refusal, None
        if refusal is not None and isinstance(error, OSError):
            logger.info("%s: %s", what, refusal)
        else:
            logger.error("%s failed", what, exc_info=error)
            refusal = HTTPError(500, "")
        if http.request is None:
            return  # after the response: close() raised, say
        answer = http.error_response(refusal)
        if answer:
            link.send(answer)
        else:
            link.reset()
