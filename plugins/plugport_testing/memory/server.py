"""MemoryServer: the server of handlers in memory."""

from __future__ import annotations

import inspect
import socket as sockets
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, Union, cast

from plugport.combination import assign_framing, assign_options
from plugport.contracts import ClientAddress, Handler, Request, Style, configure
from plugport.errors import IncompatibleError
from plugport.handlers import MessageHandler, style_of, transports_of, unwrapped
from plugport.serving import BaseServer, adapt, bridge_between

if TYPE_CHECKING:
    import asyncio

__all__ = ["MemoryHandler", "MemoryServer", "adapted", "configured"]

#: A handler, or a protocol that is made already.
MemoryHandler: TypeAlias = Union[Handler, "asyncio.BaseProtocol"]

_DRIVEN: frozenset[Style] = frozenset({"protocol"})


class MemoryServer(BaseServer):
    """The ``server`` of handlers in memory, with ``state``, ``lock`` and ``active_requests``.

    Connections share state if they are given the same server.
    """

    scheme = "memory"
    #: Set by an endpoint: replies are sent through it.
    socket: sockets.socket | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), lambda *request: None)
        #: Exceptions of handlers that raise_error() has not raised yet.
        self.errors: list[BaseException] = []

    def handle_error(self, request: Request | None, client_address: ClientAddress) -> None:
        """Keep the error for raise_error()."""
        error = sys.exception()
        assert error is not None
        self.errors.append(error)

    def close_request(self, request: Request) -> None:
        """End the request record, and close the connection."""
        self.end_request(request)
        if not isinstance(request, tuple):
            request.close()

    def raise_error(self) -> None:
        """Raise the first exception since the last call, if there is one."""
        if self.errors:
            error = self.errors[0]
            self.errors.clear()
            raise error


def configured(handler: MemoryHandler, options: Mapping[str, object]) -> Handler:
    """Return *handler* with these options; a function of a message has those of MessageHandler."""
    target = cast(Handler, handler)  # a protocol that is made already is returned as it is
    if options and inspect.isroutine(handler):
        members = {"__module__": handler.__module__, "respond": staticmethod(handler)}
        target = type(handler.__name__, (MessageHandler,), members)
    target, options = assign_framing(target, options)
    assigned = assign_options(options, {"handler": target}, {"handler": getattr(target, "__name__", "")})
    configured_handler: Handler = configure(target, assigned["handler"])
    return configured_handler


def adapted(handler: MemoryHandler, *, stream: bool) -> Callable[..., Any]:
    """Return a function that makes the protocol of a connection or endpoint; it returns a given protocol.

    Raises IncompatibleError for a handler that can't run in memory, TargetError for an object that is none.
    """
    if hasattr(handler, "connection_made") and not isinstance(handler, type):
        return lambda _: handler
    target: Handler = handler
    style = style_of(target)
    if ("stream" if stream else "datagram") not in transports_of(target):
        kinds, other = ("connections", "Endpoint") if stream else ("datagrams", "Connection")
        raise IncompatibleError(f"{_name_of(target)} serves no {kinds}; use Memory{other}")
    if style not in _DRIVEN and bridge_between(style, _DRIVEN) is None:
        raise IncompatibleError(
            f"{_name_of(target)} needs an event loop; serve it over a socket, by plugport_serve"
        )
    return adapt(target, style, _DRIVEN, stream=stream)[1]


def _name_of(handler: Handler) -> str:
    inner = unwrapped(handler)
    return getattr(inner, "__name__", repr(inner))
