"""EndpointMixIn: the one protocol of a datagram server, for strategies that live in a loop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from plugport.contracts import Loop
from plugport.transports import DatagramTransport

if TYPE_CHECKING:
    from plugport import BaseServer as _Server
else:
    _Server = object

__all__ = ["EndpointMixIn"]

#: What of a server's sees each of its requests.
_SEEING = (
    "take_requests",
    "begin_request",
    "verify_request",
    "process_request",
    "end_request",
    "shutdown_request",
    "close_request",
)

logger = logging.getLogger("plugport.server")


class EndpointMixIn(_Server):
    """Makes the protocol for the first datagram, gives it each one, and tells it of the end."""

    _endpoint: DatagramTransport | None = None

    def enter_loop(self, loop: Loop) -> None:
        """Find out who looks at requests."""
        super().enter_loop(loop)
        hooks = self.hooks
        watched = hooks.verify_request or hooks.request_started or hooks.request_finished
        if not (watched or self.is_stream()) and all(self._is_ours(name) for name in _SEEING):
            vars(self)["take_requests"] = self._take_unseen

    def leave_loop(self, loop: Loop) -> None:
        """Tell the protocol that it is over."""
        vars(self).pop("take_requests", None)
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.close()
        super().leave_loop(loop)

    def _is_ours(self, name: str) -> bool:
        module: str = getattr(getattr(self, name), "__module__", "")
        return module.partition(".")[0] in ("plugport", "plugport_builtins")

    def _take_unseen(self, most: int) -> int:
        """Do what take_requests() does, where nobody could tell if requests had accounts.

        A datagram begins and ends here, in one call; it has an account only if it fails.
        """
        if self._endpoint is None:
            return super().take_requests(most)
        get_request, receive = self.get_request, self._endpoint.receive
        for taken in range(most):
            try:
                request, client_address = get_request()
            except OSError as error:
                self.accept_failed(error)
                return taken
            try:
                receive(request[0], client_address)
            except BaseException as error:
                self._account_for(request, client_address, error)
            if self._BaseServer__shutdown_request:
                return taken + 1
        return most

    def _account_for(self, request: Any, client_address: Any, error: BaseException) -> None:
        self.begin_request(request, client_address)
        try:
            if not isinstance(error, Exception):
                self.fail_request(request, error)
                raise error
            self.handle_failure(request, client_address, error)
        finally:
            self.conclude_request(request)

    def receive_datagram(self, request: Any, client_address: Any) -> None:
        """Give a datagram to the protocol, and conclude its request. Raises what the protocol raises."""
        data, sock = request
        (self._endpoint or self._open_endpoint(sock)).receive(data, client_address)
        self.conclude_request(request)

    def _open_endpoint(self, sock: Any) -> DatagramTransport:
        protocol = self.RequestHandlerClass(self)
        self._endpoint = transport = DatagramTransport(self.serving_loop, sock, protocol, _Owner())
        protocol.connection_made(transport)
        return transport


class _Owner:
    """Who hears of the transport's end."""

    def transport_failed(self, transport: Any, error: Exception) -> None:
        """Log what connection_lost() raised: there is no request that it belongs to."""
        logger.error("connection_lost() of a datagram protocol raised", exc_info=error)

    def transport_lost(self, transport: Any) -> None:
        """Do nothing: the socket is the server's."""
