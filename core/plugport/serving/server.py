"""BaseServer: the template methods that every server class answers to."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Annotated, Any, Self

from plugport.contracts.members import Help
from plugport.serving.running import Serving

__all__ = ["BaseServer"]


class BaseServer(Serving):
    """The base of all servers, with the template methods of socketserver.BaseServer, in their order.

    For the caller: serve_forever(), shutdown(), drain(), handle_request(), server_close().

    To be overridden by server classes: server_bind(), server_activate(), get_request(),
    shutdown_request(), close_request(), fileno(), stop_listening(), resolve_url().

    To be overridden by strategies: process_request() or serve_forever(), server_close(),
    service_actions(), has_room(), abort_requests().

    To be overridden by anyone: verify_request(), handle_error(), handle_timeout(), finish_request().
    """

    timeout: Annotated[float | None, Help("seconds that handle_request() waits (null: for ever)", ge=0)] = (
        None
    )

    server_address: Any

    def __init__(self, server_address: Any, RequestHandlerClass: Callable[[Any, Any, Any], Any]) -> None:
        """Keep both. May be extended, not overridden."""
        self.server_address = server_address
        self.RequestHandlerClass = RequestHandlerClass

    def server_activate(self) -> None:
        """Begin to listen; called by the constructor."""

    def fileno(self) -> int:
        """Return the descriptor to poll for requests. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} does not define fileno()")

    def get_request(self) -> tuple[Any, Any]:
        """Return (request, client_address) of one that waits. To be overridden; may raise OSError."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_request()")

    def service_actions(self) -> None:
        """Called each turn of the serving loop."""

    def handle_timeout(self) -> None:
        """Called when handle_request() has seen no request within ``timeout``."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report the exception that is being handled. See report_error()."""
        self.report_error(request, client_address)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether to go on with this request."""
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Schedule a request that has begun. Here: run it at once; strategies override this."""
        self.run_request(request, client_address)

    def server_close(self) -> None:
        """Release what the server holds. May be called again."""
        if self.serving_loop is None:
            self.reject_accepted()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Run the handler on the request."""
        self.RequestHandlerClass(request, client_address, self)

    def shutdown_request(self, request: Any) -> None:
        """End the account of a request, say goodbye to the client, and close."""
        self.end_request(request)
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Release the request in this process, without a word to the client."""
        self.end_request(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server_close()
