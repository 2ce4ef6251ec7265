"""WSGIProtocol: serves a WSGI application in a loop; a shared greenlet runs each request.

Most requests do not wait: their greenlet is idle again before the next request arrives, and its stack stays
in the processor's caches. A request that waits for its client, for the body or until the response is taken,
keeps its greenlet until it is done, and the next request uses another one.
"""

from __future__ import annotations

import contextvars
import errno
import os
from collections.abc import Callable
from typing import Any, BinaryIO

import greenlet
from plugport.transports import call_later

from plugport_http.engine import HTTPError, Request
from plugport_http.protocol import HTTPProtocol
from plugport_http.wsgi.body import BodyError
from plugport_http.wsgi.greenlets import Worker, idle_workers
from plugport_http.wsgi.responder import Responder

__all__ = ["WSGIProtocol"]

#: Bytes that a response may send before the loop has its turn, and bytes to read of a file at once.
_MAX_BURST, _CHUNK = 262144, 65536


class WSGIProtocol(Responder, HTTPProtocol):
    """The protocol of one connection, and the Sender of its responses.

    The methods below the line "In the worker" run in a worker's greenlet, the others in that of the loop.
    ``failure`` is the error that broke the connection, or None.
    """

    failure: Exception | None = None

    _worker: Worker | None = None  # the worker that waits for the client
    _wants_body = False
    _pieces: list[bytes]
    _body_ended = False
    _burst = 0
    _file_is_sent = False

    def connection_made(self, transport: Any) -> None:
        """Prepare the objects that all requests of the connection share."""
        context = self._context
        assert context is not None
        self._loop = greenlet.getcurrent()
        self._idle = idle_workers()
        # One context for each connection, as under a strategy with a thread for each.
        self._run = contextvars.copy_context().run
        self._pieces = []
        sock, tls = transport.get_extra_info("socket"), transport.get_extra_info("ssl_object")
        self._prepare(self.http, self, context.server, sock, tls, context.client_address)
        super().connection_made(transport)

    def request_received(self, request: Request) -> None:
        """Run the request in a worker."""
        self._pieces.clear()
        self._body_ended = False
        self._burst = 0
        idle = self._idle
        worker = idle.pop() if idle else Worker(idle)
        worker.task = (self._run, self._serve, request)
        self._switch(worker)

    def body_received(self, data: bytes) -> None:
        """Pass a piece of the body to the worker, and pause until it asks for more."""
        self.read_body(False)
        self._pieces.append(data)
        self._resume()

    def body_ended(self) -> None:
        """Pass the end of the body to the worker."""
        self._body_ended = True
        self._resume()

    def writable(self) -> None:
        """Let the worker send again."""
        self._resume()

    def _file_sent(self) -> None:
        self._file_is_sent = True
        self.set_direct_sending(False)
        if self.can_write:
            self._deadline = None
        self._resume()

    def send_error(self, error: HTTPError, *headers: tuple[bytes, bytes]) -> None:
        """Raise BodyError in a worker that waits for the body; without one answer with the error."""
        if self._worker is None:
            super().send_error(error, *headers)
            return
        self._deadline = None
        self._body_error = error
        self._resume()

    def disconnected(self, error: Exception | None) -> None:
        """Raise the failure in a worker that waits for the client."""
        self.failure = self.failure or error or BrokenPipeError(errno.EPIPE, "Broken pipe")
        try:
            self._resume()
        finally:
            self._environ_builder.errors.flush()
            # Break the reference cycles.
            del self._exchange.sender, self._sender

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
        try:
            self._respond(request)
        except Exception:
            if self.failure is None:
                raise
            # else the connection broke, and the transport has reported it
        except (SystemExit, greenlet.GreenletExit) as error:
            # Ends this connection, as it would end a thread.
            context = self._context
            assert context is not None
            context.server.fail_request(context.request, error)
            self.transport.close()

    def _wait(self) -> None:
        """Switch to the loop until there is an event. Raises the failure of the connection."""
        self._burst = 0
        self._loop.switch()
        if self.failure is not None:
            raise self.failure

    def _next_piece(self, number: int) -> bytes:
        http = self.http
        while True:
            if self._body_error is not None:
                raise BodyError(str(self._body_error))
            if http.request is None or http.requests != number:
                return b""
            if self._pieces:
                return self._pieces.pop()
            if self._body_ended:
                return b""
            self._wants_body = True
            self._wait()

    def send(self, data: bytes) -> None:
        """Send *data* as soon as the client has taken enough of the earlier data. (Sender)"""
        while not self.can_write:
            self._wait()
        if self._burst > _MAX_BURST:  # let other connections have their turn
            call_later(self.transport, 0.0, self._resume)
            self._wait()
        if self.transport.is_closing():
            self.failure = self.failure or BrokenPipeError(errno.EPIPE, "Broken pipe")
            raise self.failure
        self.transport.write(data)
        self._burst += len(data)

    def send_file(self, file: BinaryIO, offset: int, count: int) -> int:
        """Send *count* bytes of *file* from *offset* on; return the number of bytes it had. (Sender)"""
        send_file: Callable[..., None] | None = getattr(self.transport, "send_file", None)
        if send_file is not None:
            self._file_is_sent = False
            send_file(file, offset, count, self._file_sent)
            self.set_direct_sending(True)
            while not self._file_is_sent:
                self._wait()
            return count
        sent = 0
        while sent < count and (data := os.pread(file.fileno(), min(count - sent, _CHUNK), offset + sent)):
            self.send(data)
            sent += len(data)
        return sent
