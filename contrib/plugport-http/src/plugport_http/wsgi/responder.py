"""Responder: calls the application for a request, and answers for it if it fails."""

from __future__ import annotations

import logging
from functools import partial

from plugport.contracts import ClientAddress, Server, StreamRequest

from plugport_http.engine import HTTPError, Request, ServerConnection
from plugport_http.tlsinfo import TLSConnection
from plugport_http.wsgi.body import InputStream
from plugport_http.wsgi.environ import EnvironBuilder
from plugport_http.wsgi.interface import Sender
from plugport_http.wsgi.response import Exchange
from plugport_http.wsgi.settings import WSGISettings

__all__ = ["Responder"]

logger = logging.getLogger("plugport.http.wsgi")


class Responder(WSGISettings):
    """The common base of the blocking WSGI handler and the WSGI protocol."""

    _http: ServerConnection
    _sender: Sender
    _environ_builder: EnvironBuilder
    _exchange: Exchange
    #: The error in the current request's body, after the application was told of it.
    _body_error: HTTPError | None = None

    def _prepare(
        self,
        http: ServerConnection,
        sender: Sender,
        server: Server,
        sock: StreamRequest,
        tls: TLSConnection | None,
        client_address: ClientAddress,
    ) -> None:
        """Prepare the objects that all requests of the connection share; *tls* is None without TLS."""
        application = type(self).application
        assert application is not None
        self._http = http
        self._sender = sender
        self._environ_builder = EnvironBuilder(server, sock, tls, client_address, self.script_name)
        self._exchange = Exchange(application, http, sender)

    def _next_piece(self, number: int) -> bytes:
        """Return the next piece of the body of request *number*; b"" at its end, or if it was answered.

        Waits for the client. Raises BodyError. Must be overridden.
        """
        raise NotImplementedError

    def _respond(self, request: Request) -> None:
        """Call the application for a request, and send its response."""
        builder = self._environ_builder
        # The engine returns the same Request object for a repeated request.
        environ = (builder.last_environ if request is builder.last else builder.build(request)).copy()
        if request.content_length != 0:
            environ["wsgi.input"] = InputStream(partial(self._next_piece, self._http.requests))
        try:
            self._exchange.respond(environ, request)
        except Exception as error:
            self._fail(request, error)

    def _fail(self, request: Request, error: Exception) -> None:
        """Log that the application or the connection failed, and answer if that is possible."""
        http, sender = self._http, self._sender
        failure = sender.failure
        if failure is not None and isinstance(error, OSError):
            raise failure
        request_line = f"{request.method} {request.path.decode('latin-1')}"
        response_error, self._body_error = self._body_error, None
        if response_error is not None and isinstance(error, OSError):
            logger.info("%s: %s", request_line, response_error)
        else:
            logger.error("%s failed", request_line, exc_info=error)
            response_error = HTTPError(500, "")
        if failure is not None:
            raise failure
        if http.request is None:
            return  # the response is complete: close() raised, for example
        response = http.error_response(response_error)
        if response:
            sender.send(response)
        else:
            sender.reset()
