"""WSGIProtocol: serves a WSGI application in a loop, where one call of it answers a request.

Most requests have no body, and most responses are there when the application returns: neither waits for
the client, and so neither needs a greenlet. What does wait is handed over to one, with the connection,
which stays there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from plugport.bridges.greenlets import SwitchedProtocol

from plugport_http.engine import Request, ServerConnection
from plugport_http.protocol import HTTPProtocol
from plugport_http.wsgi.environ import Environs
from plugport_http.wsgi.response import Exchange
from plugport_http.wsgi.settings import WSGISettings

__all__ = ["Begun", "WSGIProtocol"]


class Begun:
    """A connection that a handler goes on with: its engine, its exchange, and what comes first."""

    def __init__(
        self, http: ServerConnection, exchange: Exchange, environs: Environs, first: Callable[[Any], None]
    ) -> None:
        self.http = http
        self.exchange = exchange
        self.environs = environs
        self.first = first


class WSGIProtocol(WSGISettings, HTTPProtocol):
    """One connection: calls the application in the loop, as long as nothing has to wait.

    ``handler_class``: the blocking handler that goes on where something does.
    """

    handler_class: ClassVar[Any]
    #: Whether the application has used write(), which may have to wait: it is no more called in the loop.
    writes: ClassVar[bool] = False

    _exchange: Exchange
    _environs: Environs
    _first: Callable[[Any], None] | None = None

    def connection_made(self, transport: Any) -> None:
        """Make what stays the same for all requests of the connection."""
        super().connection_made(transport)
        context: Any = self._context
        assert self.application is not None
        self._application: Callable[..., Any] = self.application
        self._exchange = Exchange(self.http, self)
        sock = transport.get_extra_info("socket")
        self._environs = Environs(context.server, sock, context.client_address, self.script_name)

    def request_received(self, request: Request) -> None:
        """Call the application, and send what it has returned; or let a greenlet do the one or the other."""
        if request.content_length != 0 or self.writes:
            self._hand_over(lambda handler: handler.answer(request))
            return
        exchange = self._exchange
        try:
            whole = exchange.call(self._application, self._environs.of(request), request)
        except Exception as error:
            failure = error
            self._hand_over(lambda handler: handler.fail(request, failure))
            return
        if whole is None:
            self._hand_over(lambda handler: handler.send_result(request))
        else:
            self.transport.write(whole)
            self._response_ended()

    def send(self, data: bytes) -> None:
        """Send what the application writes by write(), now and however much it is. (Link)"""
        type(self).writes = True
        self.transport.write(data)

    def disconnected(self, error: Exception | None) -> None:
        """Release what waits for a greenlet that will not come."""
        self._first = None
        self._exchange.drop_result()
        self._environs.errors.flush()

    def _hand_over(self, first: Callable[[Any], None]) -> None:
        """Let a handler in a greenlet go on with the connection, and do *first* first."""
        self._first = first
        self.transport.call_soon(self._go_over)

    def _go_over(self) -> None:
        first, self._first = self._first, None
        context: Any = self._context
        if first is None or self._lost:
            return
        self._stop_clock()
        context.server.drain_calls.discard(self.drain)
        transport = self.transport
        if not self._reading:
            transport.resume_reading()
        begun = Begun(self.http, self._exchange, self._environs, first)
        switched = SwitchedProtocol(partial(self.handler_class, begun=begun), context)
        switched.eof = self.http.eof_received
        if not self.can_write:
            switched.pause_writing()
        transport.set_protocol(switched)
        switched.connection_made(transport)
