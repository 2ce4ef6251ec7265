"""What the transports of connections and of datagram sockets have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["HIGH_WATER", "BaseTransport", "Bytes", "Owner", "write_buffer_limits"]

Bytes = bytes | bytearray | memoryview

#: Bytes of unsent data above which a protocol is told to pause writing (asyncio's default).
HIGH_WATER = 65536


def write_buffer_limits(high: int | None, low: int | None) -> tuple[int, int]:
    """Return (high, low), each worked out from the other where it is None, as asyncio does.

    Raises ValueError unless high >= low >= 0.
    """
    if high is None:
        high = HIGH_WATER if low is None else 4 * low
    if low is None:
        low = high // 4
    if not high >= low >= 0:
        raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
    return high, low


class Owner(Protocol):
    """Whoever made the transport: the strategy, or the pump."""

    def transport_failed(self, transport: Any, error: Exception) -> None:
        """Take note of what the protocol raised, or what broke the connection."""

    def transport_lost(self, transport: Any) -> None:
        """Close the socket: the protocol's connection_lost() has been called. Called once."""


class BaseTransport:
    """What both kinds have in common: extra info, the protocol, the closing."""

    __slots__ = ("_closed", "_closing", "_loop", "_owner", "_protocol", "_sock", "context")

    def __init__(self, loop: Any, sock: Any, protocol: Any, owner: Owner, context: Any = None) -> None:
        self._loop = loop
        self._sock = sock
        self._protocol = protocol
        self._owner = owner
        self._closing = False
        self._closed = False
        #: The RequestContext of the connection; None for a socket of datagrams.
        self.context = context

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return "socket", "sockname" or "peername", None where there is none; else *default*."""
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
        """Whether the transport is closing or closed."""
        return self._closing

    def get_protocol(self) -> Any:
        """Return the protocol."""
        return self._protocol

    def _call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call the protocol; what it raises ends this connection and no other."""
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
