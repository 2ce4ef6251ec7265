"""secured_protocols(): protocols of connections over TLS, for whatever drives protocols."""

from __future__ import annotations

from collections.abc import Callable

from plugport.bridges.inline import ProtocolFactory
from plugport.bridges.tls.layer import TLSTransport
from plugport.contracts.requests import RequestContext

__all__ = ["secured_protocols"]


def secured_protocols(make_protocol: ProtocolFactory) -> Callable[[RequestContext], TLSTransport]:
    """Return a factory of the protocol of a connection over TLS, from that of the protocol above it."""

    def make(context: RequestContext) -> TLSTransport:
        server = context.server

        def failed(error: Exception) -> None:
            server.handle_failure(context.request, context.client_address, error)

        return TLSTransport(
            lambda: make_protocol(context), server.tls_context(), server.handshake_timeout, failed
        )

    return make
