"""WSGIProtocol: serves a WSGI application in a loop, each request in a greenlet that is there for all.

Most requests wait for nobody: their greenlet is back before the next one comes, and its stack stays in the
processor's caches. A request that waits for its client, to send a body or to take the response, keeps the
greenlet until it is done, and the next one gets another.
"""

from __future__ import annotations

import contextvars
import errno
import os
from typing import Any

import greenlet
from plugport.transports import call_later

from plugport_http.engine import HTTPError, Request
from plugport_http.protocol import HTTPProtocol
from plugport_http.wsgi.body import BodyError
from plugport_http.wsgi.greenlets import Worker, idle_workers
from plugport_http.wsgi.responder import Responder

__all__ = ["WSGIProtocol"]

#: Bytes that a response may send before the loop has its turn, and bytes of a file read at once.
_MAX_BURST, _CHUNK = 262144, 65536


class WSGIProtocol(Responder, HTTPProtocol):
    """One connection. The methods below "In the worker" are called there, the others by the loop.

    ``failure``: what broke the connection; None while it is there.
    """

    failure: Exception | None = None

    _worker: Worker | None = None  # while it waits
    _wants_body = False
    _pieces: list[bytes]
    _body_ended = False
    _burst = 0
    _file_is_sent = False

    def connection_made(self, transport: Any) -> None:
        """Make what stays the same for all requests of the connection."""
        context: Any = self._context
        self._loop = greenlet.getcurrent()
        self._idle = idle_workers()
        # One for the connection, as a thread of its own would have.
        self._run = contextvars.copy_context().run
        self._pieces = []
        sock, tls = transport.get_extra_info("socket"), transport.get_extra_info("ssl_object")
        self._prepare(self.http, self, context.server, sock, tls, context.client_address)
        super().connection_made(transport)

    def request_received(self, request: Request) -> None:
        """Have a worker answer it."""
        self._pieces.clear()
        self._body_ended = False
        self._burst = 0
        idle = self._idle
        worker = idle.pop() if idle else Worker(idle)
        worker.task = (self._run, self._serve, request)
        self._switch(worker)

    def body_received(self, data: bytes) -> None:
        """Give a piece of the body to whoever waits for it; the next one comes when it is wanted."""
        self.read_body(False)
        self._pieces.append(data)
        self._resume()

    def body_ended(self) -> None:
        """Let who waits for the body go on."""
        self._body_ended = True
        self._resume()

    def writable(self) -> None:
        """Let who waits to send go on."""
        self._resume()

    def _file_sent(self) -> None:
        self._file_is_sent = True
        self.sending(False)
        if self.can_write:
            self._deadline = None
        self._resume()

    def send_error(self, error: HTTPError, *headers: tuple[bytes, bytes]) -> None:
        """Tell an application that waits for the body; refuse the request if there is none."""
        if self._worker is None:
            super().send_error(error, *headers)
            return
        self._deadline = None
        self._refusal = error
        self._resume()

    def disconnected(self, error: Exception | None) -> None:
        """Let who waits for the client see that it has gone."""
        self.failure = self.failure or error or BrokenPipeError(errno.EPIPE, "Broken pipe")
        try:
            self._resume()
        finally:
            self._environ_builder.errors.flush()
            # So that nothing is in a circle.
            self._exchange.link = self._link = None

    def _resume(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            self._switch(worker)

    def _switch(self, worker: Worker) -> None:
        """Run *worker* until it waits or is done."""
        worker.switch()
        if worker.task is not None:
            self._worker = worker
            if self._wants_body:
                self._wants_body = False
                self.read_body(True)
                self._check_read_ahead()
        elif not self._lost and not self.transport.is_closing():
            self._response_ended()

    # In the worker ----------------------------------------------------------------------------------

    def _serve(self, request: Request) -> None:
        context: Any = self._context
        try:
            self._answer(request)
        except Exception:
            if self.failure is None:
                raise
            # else the connection broke, and the transport has told of it
        except (SystemExit, greenlet.GreenletExit) as error:
            # It ends this connection, as it would end a thread.
            context.server.fail_request(context.request, error)
            self.transport.close()

    def _wait(self) -> None:
        """Let others run until something has happened. Raises what broke the connection."""
        self._burst = 0
        self._loop.switch()
        if self.failure is not None:
            raise self.failure

    def _next_piece(self, number: int) -> bytes:
        http = self.http
        while True:
            if self._refusal is not None:
                raise BodyError(str(self._refusal))
            if http.request is None or http.requests != number:
                return b""
            if self._pieces:
                return self._pieces.pop()
            if self._body_ended:
                return b""
            self._wants_body = True
            self._wait()

    def send(self, data: bytes) -> None:
        """Send *data*, once the client has taken enough of what was sent before. (Link)"""
        while not self.can_write:
            self._wait()
        if self._burst > _MAX_BURST:  # a client that takes all at once must not keep the loop from the others
            call_later(self.transport, 0.0, self._resume)
            self._wait()
        if self.transport.is_closing():
            self.failure = self.failure or BrokenPipeError(errno.EPIPE, "Broken pipe")
            raise self.failure
        self.transport.write(data)
        self._burst += len(data)

    def send_file(self, file: Any, offset: int, count: int) -> int:
        """Send *count* bytes of *file* from *offset* on; return how many it had. (Link)"""
        if hasattr(self.transport, "send_file"):
            self._file_is_sent = False
            self.transport.send_file(file, offset, count, self._file_sent)
            self.sending(True)
            while not self._file_is_sent:
                self._wait()
            return count
        sent = 0
        while sent < count and (data := os.pread(file.fileno(), min(count - sent, _CHUNK), offset + sent)):
            self.send(data)
            sent += len(data)
        return sent

    def reset(self) -> None:
        """End the connection in a way that can't be taken for the end of a response. (Link)"""
        self.cut()
