"""Protocols on an asyncio event loop, watched for their server: errors, the end, and activity.

The loop's transport drives a protocol of this module, which passes each call on to the handler's protocol.
That one gets a transport of this module, whose set_protocol() keeps the watch.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from plugport.bridges.loop_transports import LoopTransport
from plugport.bridges.tls.eventloop import connect, record_traffic
from plugport.bridges.tls.failures import as_connection_error
from plugport.contracts.interfaces import AnyProtocol, Buffer
from plugport.contracts.requests import RequestContext

if TYPE_CHECKING:
    import socket

__all__ = ["ConnectionWatch", "WatchedProtocol", "WatchedTransport"]


class ConnectionWatch:
    """Watches the protocols of one connection, and reports errors and the end of the request to its server.

    A bridge that waits for the end of the connection overrides failed() and ended().
    """

    __slots__ = ("_is_secure", "context", "is_idle_watched", "request", "transport")

    def __init__(self, context: RequestContext, request: socket.socket) -> None:
        self.context = context
        self.request = request
        #: The transport that the protocol has got, while there is a connection.
        self.transport: WatchedTransport | None = None
        #: Whether bytes must mark the request as active, for the idle timeout.
        self.is_idle_watched = context.server.idle_timeout is not None
        self._is_secure = context.server.server_traits.secure

    async def connect(self, protocol: AnyProtocol) -> None:
        """Let the running loop drive *protocol* on the connection; return after connection_made().

        Over TLS that is after the handshake; see plugport.bridges.tls.eventloop.connect() for what is raised.
        """
        watched = self.watch(protocol)
        await connect(lambda: watched, self.request, self.context)

    def watch(self, protocol: AnyProtocol) -> WatchedProtocol:
        """Return a protocol for the loop's transport that passes the calls on to *protocol*."""
        if not hasattr(protocol, "get_buffer"):
            return _DataProtocol(protocol, self)
        return (_MemoryviewProtocol if self._is_secure else _BufferedProtocol)(protocol, self)

    def abort(self, error: Exception) -> None:
        """Report what a protocol raised, and end the connection."""
        self.failed(error)
        if self.transport is not None:
            self.transport.abort()

    def release(self) -> None:
        """Break the reference cycles, so that memory is freed without the garbage collector."""
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.watch = None

    def failed(self, error: Exception) -> None:
        """Report what a protocol raised, or the error of the connection. May be called more than once."""
        context = self.context
        context.server.handle_failure(context.request, context.client_address, error)

    def ended(self) -> None:
        """End the request: connection_lost() of the protocol has been called."""
        self.context.server.conclude_request(self.context.request)


class WatchedTransport(LoopTransport):
    """The transport of a watched protocol: a protocol that it is switched to is watched too."""

    __slots__ = ("watch",)

    def __init__(self, transport: asyncio.Transport, watch: ConnectionWatch) -> None:
        LoopTransport.__init__(self, transport, watch.context)
        #: None after the connection was lost.
        self.watch: ConnectionWatch | None = watch

    def set_protocol(self, protocol: AnyProtocol) -> None:
        """Switch to another protocol."""
        if self.watch is not None:
            self._transport.set_protocol(self.watch.watch(protocol))

    def get_protocol(self) -> Any:
        """Return the handler's protocol."""
        protocol = self._transport.get_protocol()
        return protocol.protocol if isinstance(protocol, WatchedProtocol) else protocol


class WatchedProtocol(asyncio.BaseProtocol):
    """Passes the calls of the loop's transport on to *protocol*, and reports to *watch*."""

    __slots__ = ("_watch", "protocol")

    def __init__(self, protocol: AnyProtocol, watch: ConnectionWatch) -> None:
        # A protocol may lack methods that are not called.
        self.protocol: Any = protocol
        self._watch = watch

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass on a transport that keeps the watch."""
        watch = self._watch
        watch.transport = watched = WatchedTransport(cast("asyncio.Transport", transport), watch)
        watch.context.server.transport_made(watched, watch.context)
        try:
            self.protocol.connection_made(watched)
        except Exception as error:
            watch.abort(error)

    # An exception of these two would reach the loop's exception handler, and the connection would stay open.

    def pause_writing(self) -> None:
        """Pass the call on; an exception ends the connection."""
        try:
            self.protocol.pause_writing()
        except Exception as error:
            self._watch.abort(error)

    def resume_writing(self) -> None:
        """Pass the call on; an exception ends the connection."""
        try:
            self.protocol.resume_writing()
        except Exception as error:
            self._watch.abort(error)

    def eof_received(self) -> bool | None:
        """Pass the call on."""
        keep_open: bool | None = self.protocol.eof_received()
        return keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the call on, then end the request."""
        watch = self._watch
        record_traffic(watch.context, watch.request)
        try:
            if exc is not None:
                exc = as_connection_error(exc)
                watch.failed(exc)
            self.protocol.connection_lost(exc)
        except Exception as failure:
            watch.failed(failure)
        finally:
            watch.ended()
            watch.release()


class _DataProtocol(WatchedProtocol):
    """Passes data on. The method is looked up for each piece: a protocol may replace its own."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Pass the data on."""
        if self._watch.is_idle_watched:
            self._watch.context.active = True
        self.protocol.data_received(data)


class _BufferedProtocol(WatchedProtocol, asyncio.BufferedProtocol):
    """Passes data on by the protocol's own buffer."""

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> Buffer:
        """Return the protocol's buffer."""
        buffer: Buffer = self.protocol.get_buffer(sizehint)
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Pass the call on."""
        if self._watch.is_idle_watched:
            self._watch.context.active = True
        self.protocol.buffer_updated(nbytes)


class _MemoryviewProtocol(_BufferedProtocol):
    """Gives the loop memoryviews of the protocol's buffer.

    asyncio's TLS fills a buffer piece by piece, and writes to slices of it. Slices of a bytearray are copies,
    and the data would be lost.
    """

    __slots__ = ("_view",)

    def __init__(self, protocol: AnyProtocol, watch: ConnectionWatch) -> None:
        super().__init__(protocol, watch)
        self._view = memoryview(b"")

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return a view of the protocol's buffer."""
        self._view = memoryview(self.protocol.get_buffer(sizehint))
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Release the view before the call: the protocol may resize its buffer in it."""
        self._view.release()
        super().buffer_updated(nbytes)
