"""BaseTransport: what the transports of connections and of datagram sockets have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, TypeVarTuple

from plugport.contracts.interfaces import AnyProtocol
from plugport.contracts.loops import TransportLoop
from plugport.contracts.requests import RequestContext

if TYPE_CHECKING:
    import socket

__all__ = ["HIGH_WATER", "BaseTransport", "TransportOwner", "write_buffer_limits"]

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")
_Transport = TypeVar("_Transport", contravariant=True)

#: Bytes of unsent data above which the transport calls the protocol's pause_writing() (asyncio's default).
HIGH_WATER = 65536


def write_buffer_limits(high: int | None, low: int | None) -> tuple[int, int]:
    """Return (high, low): *high* is 64 KiB or four times *low*, *low* is a quarter of *high*. (asyncio)

    Raises ValueError unless high >= low >= 0.
    """
    if high is None:
        high = HIGH_WATER if low is None else 4 * low
    if low is None:
        low = high // 4
    if not high >= low >= 0:
        raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
    return high, low


class TransportOwner(Protocol[_Transport]):
    """The strategy or bridge that a transport reports errors and its end to."""

    def transport_failed(self, transport: _Transport, error: Exception) -> None:
        """Note an exception that the protocol raised, or the error that broke the connection."""

    def transport_lost(self, transport: _Transport) -> None:
        """Close the socket: the protocol's connection_lost() has been called. Called once."""


class BaseTransport:
    """Extra information, the protocol, and the way a transport ends."""

    __slots__ = ("_closed", "_closing", "_loop", "_owner", "_protocol", "_sock", "context")

    #: The record of the connection's request; None for a socket of datagrams.
    context: RequestContext | None

    def __init__(
        self,
        loop: TransportLoop | None,
        sock: socket.socket,
        protocol: AnyProtocol,
        owner: TransportOwner[Any],
        context: RequestContext | None = None,
    ) -> None:
        # Which methods these must have depends on the kind of transport.
        self._loop: Any = loop
        self._sock: Any = sock
        self._protocol: Any = protocol
        self._owner = owner
        self._closing = False
        self._closed = False
        self.context = context

    def get_extra_info(self, name: str, default: object = None) -> Any:
        """Return "socket", "sockname" or "peername" (None for a client without a name), else *default*."""
        if name == "socket":
            return self._sock
        if name == "peername" and self.context is not None:
            return self.context.client_address
        try:
            if name == "peername":
                return self._sock.getpeername()
            if name == "sockname":
                return self._sock.getsockname()
        except OSError:
            pass
        return default

    def is_closing(self) -> bool:
        """Return whether the transport is closing or closed."""
        return self._closing

    def get_protocol(self) -> Any:
        """Return the protocol."""
        return self._protocol

    def _call(self, method: Callable[[*_Arguments], _Result], *args: *_Arguments) -> _Result | None:
        """Call a method of the protocol; an exception that it raises ends this connection and no other."""
        try:
            return method(*args)
        except Exception as error:
            self._fail(error)
            return None

    def _fail(self, error: Exception) -> None:
        self._owner.transport_failed(self, error)
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        raise NotImplementedError
