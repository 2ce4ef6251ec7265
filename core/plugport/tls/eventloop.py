"""connect(): a connection given to an asyncio event loop, over the loop's own TLS if the server is secure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from plugport.tls.failures import handshake_failed, handshake_timed_out

__all__ = ["connect"]


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
    try:
        transport, _ = await loop.connect_accepted_socket(
            make_protocol, request, ssl=server.tls_context(), ssl_handshake_timeout=limit
        )
    except (OSError, ValueError) as error:
        if loop.time() - start >= limit:
            raise handshake_timed_out(limit) from None
        raise handshake_failed(error) from None
    return transport
