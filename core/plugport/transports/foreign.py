"""Transports of asyncio's event loops, made to say what plugport knows better than they."""

from __future__ import annotations

from typing import Any

from plugport.contracts.requests import RequestContext

__all__ = ["TransportProxy", "override_methods", "with_attributes", "with_peername"]


def override_methods(protocol: Any, **methods: Any) -> None:
    """Put these methods in the place of the protocol's own, whatever class it is of."""
    try:
        vars(protocol).update(methods)
    except TypeError:
        # No place for attributes: the class has __slots__. A subclass of the same layout serves.
        members = {name: staticmethod(method) for name, method in methods.items()}
        protocol.__class__ = type(type(protocol).__name__, (type(protocol),), {"__slots__": (), **members})


class TransportProxy:
    """A transport with other methods: for those of uvloop, which take no attributes."""

    def __init__(self, transport: Any, members: dict[str, Any]) -> None:
        self._transport = transport
        vars(self).update(members)

    def __getattr__(self, name: str) -> Any:
        # Asked once for each: from then on the transport's own method is found at once.
        method = getattr(self._transport, name)
        setattr(self, name, method)
        return method


def with_attributes(transport: Any, **members: Any) -> Any:
    """Return *transport* with these methods in the place of its own: itself, or a proxy."""
    try:
        for name, member in members.items():
            setattr(transport, name, member)
    except AttributeError:
        return TransportProxy(transport, members)
    return transport


def with_peername(transport: Any, context: RequestContext) -> Any:
    """Have *transport* give the request's client address for its "peername".

    The two differ only after preludes: that of a proxy's header, say.
    """
    if not context.server.has_preludes:
        return transport
    get_extra_info = transport.get_extra_info

    def get_named(name: str, default: Any = None) -> Any:
        return context.client_address if name == "peername" else get_extra_info(name, default)

    return with_attributes(transport, get_extra_info=get_named)
