"""RequestCallbacks: what HTTPProtocol calls for each request. A subclass overrides them."""

from __future__ import annotations

from plugport_http.engine import Request

__all__ = ["RequestCallbacks"]


class RequestCallbacks:
    """The callbacks of one connection, for one request at a time."""

    def request_received(self, request: Request) -> None:
        """Begin to answer *request*. Must be overridden."""
        raise NotImplementedError

    def body_received(self, data: bytes) -> None:
        """Handle a piece of the request's body."""

    def body_ended(self) -> None:
        """Handle the end of the body; also called for a request without a body after read_body(True)."""

    def writable(self) -> None:
        """Continue a response that was paused because ``can_write`` was False."""

    def disconnected(self, error: Exception | None) -> None:
        """Release the resources of the current request after the connection was lost."""
