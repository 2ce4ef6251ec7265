"""BaseServer: the template methods of every server class."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Annotated, Any, Self

from plugport.contracts.interfaces import ClientAddress, Request, ServerAddress
from plugport.contracts.members import Help
from plugport.serving.accounting import record_keeping
from plugport.serving.membership import not_each_turn
from plugport.serving.running import Serving

__all__ = ["BaseServer"]


class BaseServer(Serving):
    """The base of all servers, with the template methods of socketserver.BaseServer, in their order.

    Called by the user: serve_forever(), handle_request(), shutdown(), drain(), server_close().

    Overridden by server classes: server_bind(), server_activate(), get_request(), shutdown_request(),
    close_request(), fileno(), stop_listening(), resolve_url(), preludes(), tls_context().

    Overridden by strategies: process_request() or serve_forever(), server_close(), service_actions(),
    has_room(), abort_request(), enter_loop(), leave_loop().

    Overridden by any class: verify_request(), handle_error(), handle_timeout(), finish_request().
    """

    timeout: Annotated[float | None, Help("seconds that handle_request() waits (null: no limit)", ge=0)] = (
        None
    )

    server_address: ServerAddress

    def __init__(self, server_address: ServerAddress, RequestHandlerClass: Callable[..., Any]) -> None:
        """Keep both. A subclass may extend it."""
        self.server_address = server_address
        self.RequestHandlerClass = RequestHandlerClass

    def server_activate(self) -> None:
        """Begin to listen; called by the constructor."""

    def fileno(self) -> int:
        """Return the descriptor to poll for requests. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} does not define fileno()")

    def get_request(self) -> tuple[Request, ClientAddress]:
        """Return (request, client_address) of a request that waits. To be overridden; may raise OSError."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_request()")

    @not_each_turn
    def service_actions(self) -> None:
        """Called each turn of the serving loop."""

    def handle_timeout(self) -> None:
        """Called when no request has come to handle_request() within ``timeout``."""

    def handle_error(self, request: Request | None, client_address: ClientAddress) -> None:
        """Report the exception that is being handled. See report_error()."""
        self.report_error(request, client_address)

    @record_keeping
    def verify_request(self, request: Request, client_address: ClientAddress) -> bool:
        """Return whether this request may begin."""
        return True

    def process_request(self, request: Request, client_address: ClientAddress) -> None:
        """Schedule a request that has begun. Here: run it at once; strategies override this."""
        self.run_request(request, client_address)

    def server_close(self) -> None:
        """Release what the server holds. May be called again."""
        if self.serving_loop is None:
            self.intake.reject_all("the service has ended")

    def finish_request(self, request: Request, client_address: ClientAddress) -> None:
        """Run the handler on the request."""
        self.RequestHandlerClass(request, client_address, self)

    @record_keeping
    def shutdown_request(self, request: Request) -> None:
        """Close the record of a request, end the connection, and close it."""
        self.end_request(request)
        self.close_request(request)

    @record_keeping
    def close_request(self, request: Request) -> None:
        """Release the request in this process; the client is sent nothing."""
        self.end_request(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server_close()
