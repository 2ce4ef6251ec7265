"""The types that rooms share: requests, client addresses, handlers, transports.

The server is in :mod:`plugport.contracts.requests`, beside the record of a request, which knows its server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

from plugport.contracts.loops import TimerHandle

if TYPE_CHECKING:
    import asyncio
    import socket

__all__ = [
    "AnyProtocol",
    "Buffer",
    "ClientAddress",
    "DatagramRequest",
    "DetachableTransport",
    "Handler",
    "Request",
    "ServerAddress",
    "StreamRequest",
    "Transport",
]

#: What can be sent.
Buffer: TypeAlias = bytes | bytearray | memoryview

#: A connection: a socket, or what a strategy or TLS has put in its place.
StreamRequest: TypeAlias = "socket.socket"
#: A datagram, and the socket that replies leave through.
DatagramRequest: TypeAlias = "tuple[bytes, socket.socket]"
#: One request, as get_request() returns it.
Request: TypeAlias = Union["socket.socket", "tuple[bytes, socket.socket]"]
#: The client, as accept() or recvfrom() gives it, or as a prelude has found it; None for one without a name.
ClientAddress: TypeAlias = "tuple[Any, ...] | str | bytes | None"
#: Where a server listens, as bind() takes it; a server of another kind has its own.
ServerAddress: TypeAlias = "tuple[Any, ...] | str | bytes | int"

#: A handler in any of the four styles, as its author wrote it.
Handler: TypeAlias = "Callable[..., Any]"


class AnyProtocol(Protocol):
    """What a transport drives: a protocol of asyncio for streams, buffers or datagrams, or one like it."""

    def connection_made(self, transport: Any, /) -> None:
        """Called with the transport, first."""

    def connection_lost(self, exc: Exception | None, /) -> None:
        """Called last, with the error that broke the connection, or None."""


class Transport(Protocol):
    """The transport of a connection, plugport's or asyncio's, as a protocol sees it. (asyncio.Transport)"""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return "socket", "sockname", "peername" or what else is known; *default* for what is not."""

    def is_closing(self) -> bool:
        """Return whether the transport is closing or closed."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Switch to another protocol."""

    def get_protocol(self) -> AnyProtocol:
        """Return the protocol."""

    def is_reading(self) -> bool:
        """Return whether data is taken from the connection."""

    def pause_reading(self) -> None:
        """Take no more data, until resume_reading()."""

    def resume_reading(self) -> None:
        """Take data again."""

    def write(self, data: Buffer) -> None:
        """Send *data*, now as far as the system takes it, the rest later. Does not block."""

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """Send the pieces, in their order."""

    def can_write_eof(self) -> bool:
        """Return whether write_eof() is there."""

    def write_eof(self) -> None:
        """Send the end of the stream after what is unsent. Reading goes on."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the sizes of unsent data in bytes at which writing is paused and resumed."""

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return (low, high)."""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent."""

    def close(self) -> None:
        """Send what is unsent, then close."""

    def abort(self) -> None:
        """Close now; what is unsent is lost."""


class DetachableTransport(Transport, Protocol):
    """A transport of plugport's own: it has timers, and can give its socket away."""

    def detach(self) -> socket.socket:
        """Close the transport and return its socket. Raises OSError if that is impossible, as over TLS."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """Run *callback* in *seconds*; an exception that it raises ends this connection."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run *callback* after the loop's current one; an exception that it raises ends this connection."""
