"""MemoryServer: the server that handlers in memory belong to."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from plugport.combination import assign_framing, assign_options
from plugport.contracts import Style, configure
from plugport.errors import IncompatibleError
from plugport.handlers import MessageHandler, style_of, transports_of, unwrapped
from plugport.serving import BaseServer, adapt, bridge_between

__all__ = ["MemoryServer", "adapted", "configured"]

_DRIVEN: frozenset[Style] = frozenset({"protocol"})


class MemoryServer(BaseServer):
    """What a handler sees as ``self.server``: ``state``, ``lock``, ``active_requests``. It has no socket.

    Connections that are to share state are given the same one.
    """

    scheme = "memory"
    #: Of an endpoint: what answers leave through.
    socket: Any = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), lambda *request: None)
        #: What handlers have raised, and nobody has been told of yet.
        self.errors: list[BaseException] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep the error for whoever runs the test."""
        error = sys.exception()
        assert error is not None
        self.errors.append(error)

    def close_request(self, request: Any) -> None:
        """End the account, and close the connection."""
        self.end_request(request)
        if not isinstance(request, tuple):
            request.close()

    def raise_error(self) -> None:
        """Raise what a handler has raised since the last time."""
        if self.errors:
            error = self.errors[0]
            self.errors.clear()
            raise error


def configured(handler: Any, options: Mapping[str, Any]) -> Any:
    """Return *handler* with these options; a function of a message takes those of MessageHandler."""
    if options and inspect.isroutine(handler):
        respond = staticmethod(handler)
        handler = type(
            handler.__name__, (MessageHandler,), {"__module__": handler.__module__, "respond": respond}
        )
    handler, options = assign_framing(handler, options)
    members = assign_options(options, {"handler": handler}, {"handler": getattr(handler, "__name__", "")})
    return configure(handler, members["handler"])


def adapted(handler: Any, *, stream: bool) -> Any:
    """Return what makes the protocol of a connection or an endpoint; a protocol may be given as it is.

    Raises IncompatibleError for a handler that can't live in memory, TargetError if it is none.
    """
    if hasattr(handler, "connection_made") and not isinstance(handler, type):
        return lambda _: handler
    style = style_of(handler)
    if ("stream" if stream else "datagram") not in transports_of(handler):
        kinds, other = ("connections", "Endpoint") if stream else ("datagrams", "Connection")
        raise IncompatibleError(f"{_name_of(handler)} serves no {kinds}; use Memory{other}")
    if style not in _DRIVEN and bridge_between(style, _DRIVEN) is None:
        raise IncompatibleError(
            f"{_name_of(handler)} needs an event loop; serve it over a socket, by plugport_serve"
        )
    return adapt(handler, style, _DRIVEN, stream=stream)[1]


def _name_of(handler: Any) -> str:
    inner = unwrapped(handler)
    return getattr(inner, "__name__", repr(inner))
