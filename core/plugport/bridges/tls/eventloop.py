"""connect(): a connection given to an asyncio event loop, over the loop's own TLS if the server is secure."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from plugport.bridges.tls.failures import handshake_failed, handshake_timed_out
from plugport.contracts.requests import RequestContext, traffic
from plugport.transports.foreign import override_methods

__all__ = ["connect", "deliver_memoryviews", "record_traffic"]

#: How often what comes after a handshake that has failed is taken, 64 KiB at most each time.
_DISCARDED = 16


async def connect(make_protocol: Callable[[], Any], request: Any, context: RequestContext) -> Any:
    """Have the running loop take *request*; return its transport once connection_made() was called.

    Over TLS that is after the handshake. Raises ConnectionAbortedError if it fails, TimeoutError
    if it takes too long. When the connection is lost, record_traffic() is to be called.
    """
    loop = asyncio.get_running_loop()
    server = context.server
    if not server.server_traits.secure:
        transport, _ = await loop.connect_accepted_socket(make_protocol, request)
        return transport
    protocol = make_protocol()
    if hasattr(protocol, "get_buffer"):
        deliver_memoryviews(protocol)
    # The loop closes the connection before it tells: of an alert, or that it is lost.
    context.copy = request.dup()
    try:
        transport = await _do_handshake(loop, protocol, request, context)
    except BaseException:
        record_traffic(context, request)
        raise
    if server.hooks.request_finished is None:
        _close_copy(context)
    return transport


async def _do_handshake(loop: Any, protocol: Any, request: Any, context: RequestContext) -> Any:
    server = context.server
    limit = server.handshake_timeout
    start = loop.time()
    tls = server.tls_context()
    tls.sslobject_class = _TellingObject
    try:
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, request, ssl=tls, ssl_handshake_timeout=limit
        )
    except (OSError, ValueError) as error:
        if loop.time() - start >= limit:
            raise handshake_timed_out(limit) from None
        connection = vars(error).pop("connection", None)
        if connection is not None and context.copy is not None:
            _send_alert(context.copy, connection.alert)
        raise handshake_failed(error, connection) from None
    return transport


class _TellingObject(ssl.SSLObject):
    """Goes with the error that ends its handshake: asyncio would drop the alert that says why."""

    alert: bytes
    _outgoing: ssl.MemoryBIO

    @classmethod
    def _create(cls, incoming: Any, outgoing: Any, *args: Any, **options: Any) -> Any:
        self = super()._create(incoming, outgoing, *args, **options)  # type: ignore[misc]
        self._outgoing = outgoing
        return self

    def do_handshake(self) -> None:
        """See ssl.SSLObject."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self.alert = self._outgoing.read()
            self._outgoing.write(self.alert)  # whoever would send it finds it
            vars(error)["connection"] = self
            raise


def _send_alert(copy: Any, alert: bytes) -> None:
    """Send it, and take what has come besides: closed with that unread, the alert might be lost."""
    try:
        copy.setblocking(False)
        copy.send(alert)
        for _ in range(_DISCARDED):
            if not copy.recv(65536):
                return
    except OSError:
        pass


def record_traffic(context: RequestContext, request: Any) -> None:
    """Keep in *context* what the kernel has counted, if anybody will want to know."""
    if context.server.hooks.request_finished is not None:
        context.bytes_received, context.bytes_sent = traffic(context.copy or request)
    if context.copy is not None:
        _close_copy(context)


def _close_copy(context: RequestContext) -> None:
    if context.copy is not None:
        context.copy.close()
        context.copy = None


def deliver_memoryviews(protocol: Any) -> None:
    """Have a BufferedProtocol give memoryviews of its buffer.

    asyncio's TLS fills a buffer piece by piece, and takes slices of it to write to: those of a bytearray are
    copies, and what is read into them would be lost. The view is let go before the protocol is told, which
    may resize its buffer then.
    """
    get_buffer, buffer_updated = protocol.get_buffer, protocol.buffer_updated
    view = memoryview(b"")

    def get_view(sizehint: int) -> memoryview:
        nonlocal view
        view = memoryview(get_buffer(sizehint))
        return view

    def view_updated(nbytes: int) -> None:
        view.release()
        buffer_updated(nbytes)

    override_methods(protocol, get_buffer=get_view, buffer_updated=view_updated)
