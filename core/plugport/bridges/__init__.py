"""Bridges: adapters from one style to another, so that a strategy need drive only one.

Each is in a module of its own, imported when a combination needs it: what asyncio or greenlet
cost is paid only there. ``adapt`` picks the bridge, once for a server.

The form in which a strategy gets a handler is its style's own:

    blocking   called with (request, client_address, server)
    protocol   called with the RequestContext of a connection, or with a datagram server; returns a protocol
    async      the coroutine function, or the AsyncRequestHandler class
    message    never: it is bridged everywhere
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any

from plugport.contracts.interfaces import Handler
from plugport.contracts.traits import Style
from plugport.errors import IncompatibleError

__all__ = ["BRIDGES", "adapt", "bridge_between"]

#: (from, to): the adapters of handlers of connections and of datagrams.
BRIDGES: dict[tuple[Style, Style], tuple[str, str]] = {
    ("message", "protocol"): (
        "plugport.bridges.message:framed_protocol",
        "plugport.bridges.message:message_datagram_protocol",
    ),
    ("message", "blocking"): (
        "plugport.bridges.message:framed_protocol",
        "plugport.bridges.message:answered_datagrams",
    ),
    ("protocol", "blocking"): (
        "plugport.bridges.inline:made_protocol",
        "plugport.bridges.pump:pumped_datagrams",
    ),
    ("async", "blocking"): (
        "plugport.bridges.coroutine:looped_stream",
        "plugport.bridges.coroutine:looped_datagrams",
    ),
    ("blocking", "protocol"): (
        "plugport.bridges.greenlets:switched_protocol",
        "plugport.bridges.inline:inline_datagrams",
    ),
}

#: Bridges that run a loop in the thread of the request, and so take all of it.
_HOLDING_THREAD: frozenset[tuple[Style, Style]] = frozenset({("async", "blocking")})

_NATIVE: dict[Style, tuple[str, str]] = {
    "protocol": ("plugport.bridges.inline:made_protocol", "plugport.bridges.inline:made_protocol"),
}

#: The bridges to blocking whose handlers of connections are protocols first, and what pumps those.
_PUMPED: frozenset[tuple[Style, Style]] = frozenset({("message", "blocking"), ("protocol", "blocking")})
_PUMP = "plugport.bridges.pump:StreamPump"

#: What secures the connections of protocols, and of handlers that are blocking by themselves. An async
#: handler's event loop does it.
_SECURED: dict[Style, str] = {
    "protocol": "plugport.bridges.tls.protocols:secured_protocols",
    "blocking": "plugport.bridges.tls.sockets:secured_handler",
}


def bridge_between(
    style: Style, driven: Collection[Style], *, shares_thread: bool = False
) -> tuple[Style, Style] | None:
    """Return the bridge from *style* to one that a strategy drives; None if it needs none or has none.

    *shares_thread*: blocking requests take turns in one thread, and no bridge may hold it.
    """
    if style in driven:
        return None
    for bridge in BRIDGES:
        if bridge[0] == style and bridge[1] in driven and not (shares_thread and bridge in _HOLDING_THREAD):
            return bridge
    return None


def adapt(
    handler: Handler,
    style: Style,
    driven: Collection[Style],
    *,
    stream: bool,
    shares_thread: bool = False,
    secured: Collection[Style] = frozenset(),
) -> tuple[Style, Callable[..., Any]]:
    """Return *handler* in the form of a style that is driven, and that style.

    *secured*: the styles, of those that are driven, whose connections are to go through TLS; see
    plugport.bridges.tls. Raises IncompatibleError if no bridge leads there; see bridge_between().
    """
    bridge = bridge_between(style, driven, shares_thread=shares_thread)
    if bridge is None and style not in driven:
        raise IncompatibleError(f"no bridge leads from {style} to {' or '.join(sorted(driven))}")
    first: Style = style if bridge is None or bridge[0] == "async" else "protocol"
    steps: list[str] = []
    if bridge is not None:
        steps.append(BRIDGES[bridge][0 if stream else 1])
        style = bridge[1]
    elif style in _NATIVE:
        steps.append(_NATIVE[style][0 if stream else 1])
    if stream and style in secured and first in _SECURED:
        steps.append(_SECURED[first])
    if stream and bridge in _PUMPED:
        steps.append(_PUMP)
    for step in steps:
        module, _, name = step.partition(":")
        handler = getattr(import_module(module), name)(handler)
    return style, handler
