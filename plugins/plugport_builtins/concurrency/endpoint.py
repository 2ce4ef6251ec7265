"""EndpointMixIn: the protocol of a datagram server, for strategies that drive protocols in a loop."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from plugport.contracts import ClientAddress, DatagramRequest, Loop, Request
from plugport.serving import Intake, LoopServer, is_record_keeping
from plugport.transports import DatagramTransport

if TYPE_CHECKING:
    from plugport import BaseServer as _Server
else:
    _Server = object

__all__ = ["EndpointMixIn"]

logger = logging.getLogger("plugport.server")


class DatagramIntake(Intake):
    """Passes datagrams to the protocol, without request records if nothing reads them.

    Such a datagram begins and ends in one call. It gets a record only if it fails.
    """

    __slots__ = ("endpoint",)

    def __init__(self, server: LoopServer) -> None:
        super().__init__(server)
        #: The transport of the protocol; None if records are kept, or before the first datagram.
        self.endpoint: DatagramTransport | None = None

    def take(self, most: int) -> int:
        """Take up to *most* datagrams that wait. Return how many there were."""
        endpoint = self.endpoint
        if endpoint is None:
            return super().take(most)
        server, receive = self.server, endpoint.receive
        get_request = cast("Callable[[], tuple[DatagramRequest, ClientAddress]]", server.get_request)
        for taken in range(most):
            try:
                request, client_address = get_request()
            except OSError as error:
                self.accept_failed(error)
                return taken
            try:
                receive(request[0], client_address)
            except BaseException as error:
                self._record_failure(request, client_address, error)
            if server.stopping:
                return taken + 1
        return most

    def _record_failure(self, request: Request, client_address: ClientAddress, error: BaseException) -> None:
        server = self.server
        server.begin_request(request, client_address)
        try:
            if not isinstance(error, Exception):
                server.fail_request(request, error)
                raise error
            server.handle_failure(request, client_address, error)
        finally:
            server.conclude_request(request)


class EndpointMixIn(_Server):
    """Makes the protocol for the first datagram, passes each one to it, and closes it at the end."""

    _endpoint: DatagramTransport | None = None
    #: Whether request records of datagrams are kept.
    _keeps_records = True

    def make_intake(self) -> Intake:
        """Return the intake; for datagrams one that can pass them on without request records."""
        return super().make_intake() if self.is_stream() else DatagramIntake(self)

    def enter_loop(self, loop: Loop) -> None:
        """Decide whether request records are kept."""
        super().enter_loop(loop)
        hooks = self.hooks
        has_hooks = hooks.verify_request or hooks.request_started or hooks.request_finished
        methods = (
            self.begin_request,
            self.verify_request,
            self.process_request,
            self.end_request,
            self.shutdown_request,
            self.close_request,
        )
        self._keeps_records = bool(has_hooks) or not all(is_record_keeping(method) for method in methods)

    def leave_loop(self, loop: Loop) -> None:
        """Close the endpoint: its protocol's connection_lost() is called."""
        endpoint, self._endpoint = self._endpoint, None
        if isinstance(self.intake, DatagramIntake):
            self.intake.endpoint = None
        if endpoint is not None:
            endpoint.close()
        super().leave_loop(loop)

    def receive_datagram(self, request: DatagramRequest, client_address: ClientAddress) -> None:
        """Pass a datagram to the protocol, and conclude its request. Raises what the protocol raises."""
        data, sock = request
        (self._endpoint or self._open_endpoint(sock)).receive(data, client_address)
        self.conclude_request(request)

    def _open_endpoint(self, sock: socket.socket) -> DatagramTransport:
        protocol = self.RequestHandlerClass(self)
        self._endpoint = transport = DatagramTransport(self.serving_loop, sock, protocol, _Owner())
        if not self._keeps_records and isinstance(self.intake, DatagramIntake):
            self.intake.endpoint = transport
        protocol.connection_made(transport)
        return transport


class _Owner:
    """Gets the reports of the endpoint."""

    def transport_failed(self, transport: object, error: Exception) -> None:
        """Log an exception of connection_lost(): there is no request that it belongs to."""
        logger.error("connection_lost() of a datagram protocol raised", exc_info=error)

    def transport_lost(self, transport: object) -> None:
        """Leave the socket open: the server closes it."""
