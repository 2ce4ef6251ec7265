"""Bridges that need no machinery: protocols as they are, and blocking handlers of datagrams in the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plugport.contracts.traits import unwrapped

__all__ = ["inline_datagrams", "made_protocol"]


def made_protocol(protocol_class: Callable[[], Any]) -> Callable[[Any], Any]:
    """Return what makes a protocol of the class, called without arguments as asyncio does.

    A class that has a class method ``for_request(context)`` is made by that: it knows then, by the
    RequestContext of its connection, the server and the client.
    """
    for_request: Callable[[Any], Any] | None = getattr(unwrapped(protocol_class), "for_request", None)
    return for_request or (lambda _: protocol_class())


class InlineDatagrams:
    """The protocol of a datagram server whose blocking handler runs at once: a datagram does not wait."""

    def __init__(self, handler: Callable[[Any, Any, Any], Any], server: Any) -> None:
        self._handler = handler
        self._server = server

    def connection_made(self, transport: Any) -> None:
        """Do nothing: the handler replies through the socket."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Run the handler."""
        self._handler((data, self._server.socket), addr, self._server)

    def error_received(self, error: Exception) -> None:
        """Do nothing."""

    def connection_lost(self, error: Exception | None) -> None:
        """Do nothing."""


def inline_datagrams(handler: Callable[[Any, Any, Any], Any]) -> Callable[[Any], InlineDatagrams]:
    """Return what makes the protocol of a datagram server, from a blocking handler."""
    return lambda server: InlineDatagrams(handler, server)
