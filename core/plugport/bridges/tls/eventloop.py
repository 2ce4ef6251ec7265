"""connect(): lets an asyncio event loop serve a connection, over the loop's TLS if the server is secure."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from plugport.bridges.tls.failures import handshake_failed, handshake_timed_out
from plugport.contracts.requests import RequestContext, traffic

if TYPE_CHECKING:
    import socket

__all__ = ["connect", "record_traffic"]

#: How many reads, of 64 KiB at most, discard data that arrives after a failed handshake.
_DISCARDING_READS = 16


async def connect(
    make_protocol: Callable[[], asyncio.BaseProtocol], request: socket.socket, context: RequestContext
) -> asyncio.Transport:
    """Let the running loop serve *request*; return its transport after connection_made().

    Over TLS that is after the handshake. Raises ConnectionAbortedError if the handshake fails, TimeoutError
    if it takes too long. The protocol must call record_traffic() in connection_lost().
    """
    loop = asyncio.get_running_loop()
    server = context.server
    if not server.server_traits.secure:
        transport, _ = await loop.connect_accepted_socket(make_protocol, request)
        return transport
    protocol = make_protocol()
    # The loop closes the socket before it reports a failed handshake or a lost connection.
    context.copy = request.dup()
    try:
        transport = await _do_handshake(loop, protocol, request, context)
    except BaseException:
        record_traffic(context, request)
        raise
    if server.hooks.request_finished is None:
        _close_copy(context)
    return transport


async def _do_handshake(
    loop: asyncio.AbstractEventLoop,
    protocol: asyncio.BaseProtocol,
    request: socket.socket,
    context: RequestContext,
) -> asyncio.Transport:
    server = context.server
    limit = server.handshake_timeout
    start = loop.time()
    tls = server.tls_context()
    tls.sslobject_class = _SecuredObject
    try:
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, request, ssl=tls, ssl_handshake_timeout=limit
        )
    except (OSError, ValueError) as error:
        if loop.time() - start >= limit:
            raise handshake_timed_out(limit) from None
        if not isinstance(error, _HandshakeError):
            raise handshake_failed(error) from None
        if context.copy is not None:
            _send_alert(context.copy, error.connection.alert)
        raise handshake_failed(error.error, error.connection) from None
    return transport


class _HandshakeError(ssl.SSLError):
    """The *error* of a handshake, together with the *connection*, which has the alert."""

    def __init__(self, error: ssl.SSLError, connection: _SecuredObject) -> None:
        super().__init__(*error.args)
        self.error = error
        self.connection = connection


class _SecuredObject(ssl.SSLObject):
    """Keeps the alert of a failed handshake, which asyncio does not send."""

    alert: bytes
    _outgoing: ssl.MemoryBIO

    @classmethod
    def _create(
        cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: object, **options: object
    ) -> Self:
        self: Self = super()._create(incoming, outgoing, *args, **options)  # type: ignore[misc]
        self._outgoing = outgoing
        return self

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self.alert = self._outgoing.read()
            self._outgoing.write(self.alert)  # for an event loop that sends it
            raise _HandshakeError(error, self) from error


def _send_alert(copy: socket.socket, alert: bytes) -> None:
    """Send *alert*, and discard received data: closing a socket with unread data would lose the alert."""
    try:
        copy.setblocking(False)
        copy.send(alert)
        for _ in range(_DISCARDING_READS):
            if not copy.recv(65536):
                return
    except OSError:
        pass


def record_traffic(context: RequestContext, request: socket.socket) -> None:
    """Store the bytes that the kernel has counted in *context*, if there is a hook that can read them."""
    if context.server.hooks.request_finished is not None:
        context.bytes_received, context.bytes_sent = traffic(context.copy or request)
    if context.copy is not None:
        _close_copy(context)


def _close_copy(context: RequestContext) -> None:
    if context.copy is not None:
        context.copy.close()
        context.copy = None
