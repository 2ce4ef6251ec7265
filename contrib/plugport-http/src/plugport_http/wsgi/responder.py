"""Responder: calls the application for a request, and sends what it answers with."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from plugport_http.engine import HTTPError, Request, ServerConnection
from plugport_http.wsgi.body import InputStream
from plugport_http.wsgi.environ import EnvironBuilder
from plugport_http.wsgi.response import Exchange
from plugport_http.wsgi.settings import WSGISettings

__all__ = ["Responder"]

logger = logging.getLogger("plugport.http.wsgi")


class Responder(WSGISettings):
    """What the handler and the protocol of WSGI have in common.

    ``_link`` is what they send by: a Link, or what does the same.
    """

    _http: ServerConnection
    _link: Any
    _environ_builder: EnvironBuilder
    _exchange: Exchange
    #: What was wrong with the body of the request at hand, once its application was told.
    _refusal: HTTPError | None = None

    def _prepare(
        self, http: ServerConnection, link: Any, server: Any, sock: Any, tls: Any, client_address: Any
    ) -> None:
        """Make what stays the same for all requests of the connection; *tls* is None where there is none."""
        assert self.application is not None
        self._http = http
        self._link = link
        self._environ_builder = EnvironBuilder(server, sock, tls, client_address, self.script_name)
        self._exchange = Exchange(self.application, http, link)

    def _next_piece(self, number: int) -> bytes:
        """Return the next piece of the body of request *number*, b"" at its end and when it was answered.

        Waits for it. Raises BodyError. To be overridden.
        """
        raise NotImplementedError

    def _answer(self, request: Request) -> None:
        """Call the application for a request, and send what it answers with."""
        environs = self._environ_builder
        # The engine gives the same again, where a request comes again.
        environ = (environs.last_environ if request is environs.last else environs.take(request)).copy()
        if request.content_length != 0:
            environ["wsgi.input"] = InputStream(partial(self._next_piece, self._http.requests))
        try:
            self._exchange.respond(environ, request)
        except Exception as error:
            self._fail(request, error)

    def _fail(self, request: Request, error: Exception) -> None:
        """The application has failed, or the connection under it: say so, to whom it concerns."""
        http, link = self._http, self._link
        broken = link.failure
        if broken is not None and isinstance(error, OSError):
            raise broken
        what = f"{request.method} {request.path.decode('latin-1')}"
        refusal, self._refusal = self._refusal, None
        if refusal is not None and isinstance(error, OSError):
            logger.info("%s: %s", what, refusal)
        else:
            logger.error("%s failed", what, exc_info=error)
            refusal = HTTPError(500, "")
        if broken is not None:
            raise broken
        if http.request is None:
            return  # after the response: close() raised, say
        answer = http.error_response(refusal)
        if answer:
            link.send(answer)
        else:
            link.reset()
