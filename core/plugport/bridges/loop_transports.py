"""Transports above those of an asyncio event loop, for what the loop's own transport can't know.

The loop keeps its own transport. A protocol gets one of these, which passes everything else on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from plugport.contracts.interfaces import Buffer
from plugport.contracts.requests import RequestContext

__all__ = ["LoopTransport", "with_peername"]


if TYPE_CHECKING:

    class _Write(Protocol):
        def __call__(self, data: Buffer) -> None: ...


class LoopTransport(asyncio.Transport):
    """Passes all calls on to *transport*, the event loop's, except for "peername": see get_extra_info()."""

    __slots__ = ("__weakref__", "_client_address", "_has_preludes", "_transport", "write")

    #: The method of the loop's transport, without a call in between.
    write: _Write

    def __init__(self, transport: asyncio.Transport, context: RequestContext) -> None:
        self._transport = transport
        self._has_preludes = context.server.has_preludes
        self._client_address = context.client_address
        self.write = transport.write

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            """The class of the loop's transport: loop.sendfile() requires a private base class of it."""
            return type(self._transport)

    def __getattr__(self, name: str) -> Any:
        # loop.start_tls() and loop.sendfile() use private attributes of the loop's transports.
        return getattr(self._transport, name)

    def get_extra_info(self, name: str, default: object = None) -> Any:
        """Return what the loop's transport knows. "peername" is the request's client address.

        The two differ only after preludes: a proxy's header may contain another address.
        """
        if name == "peername" and self._has_preludes:
            return self._client_address
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()

    def is_reading(self) -> bool:
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._transport.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        self._transport.writelines(list_of_data)

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        self._transport.write_eof()


def with_peername(transport: asyncio.Transport, context: RequestContext) -> asyncio.Transport:
    """Return *transport*, or one above it that knows the client address that preludes have found."""
    return LoopTransport(transport, context) if context.server.has_preludes else transport
