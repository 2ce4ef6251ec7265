"""connect(): a connection given to an asyncio event loop, over the loop's own TLS if the server is secure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from plugport.tls.failures import handshake_failed, handshake_timed_out
from plugport.transports.foreign import override

__all__ = ["connect", "give_views"]


async def connect(make_protocol: Callable[[], Any], request: Any, server: Any) -> Any:
    """Have the running loop take *request*; return its transport once connection_made() was called.

    Over TLS that is after the handshake. Raises ConnectionAbortedError if it fails, TimeoutError
    if it takes too long.
    """
    loop = asyncio.get_running_loop()
    if not server.secure:
        transport, _ = await loop.connect_accepted_socket(make_protocol, request)
        return transport
    limit = server.handshake_timeout
    start = loop.time()
    protocol = make_protocol()
    if hasattr(protocol, "get_buffer"):
        give_views(protocol)
    try:
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, request, ssl=server.tls_context(), ssl_handshake_timeout=limit
        )
    except (OSError, ValueError) as error:
        if loop.time() - start >= limit:
            raise handshake_timed_out(limit) from None
        raise handshake_failed(error) from None
    return transport


def give_views(protocol: Any) -> None:
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

    override(protocol, get_buffer=get_view, buffer_updated=view_updated)
