"""secured_protocols(): protocols of connections over TLS, for whatever drives protocols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plugport.bridges.tls.layer import TLSTransport
from plugport.contracts.requests import RequestContext

__all__ = ["secured_protocols"]


def secured_protocols(make_protocol: Callable[[RequestContext], Any]) -> Callable[[RequestContext], Any]:
    """Return what makes the protocol of a connection over TLS, from what makes that above it."""

    def make(context: RequestContext) -> TLSTransport:
        server = context.server

        def failed(error: Exception) -> None:
            server.handle_failure(context.request, context.client_address, error)

        return TLSTransport(
            lambda: make_protocol(context), server.tls_context(), server.handshake_timeout, failed
        )

    return make
