"""Bridges: adapters from one style to another, so that a strategy need not drive all styles.

Each bridge is in a module of its own, which is imported when a combination needs it: so asyncio, greenlet and
ssl are imported only where they are used. ``adapt`` chooses the bridge, once for a server.

A strategy gets a handler in the form of the style that it drives:

    blocking   called with (request, client_address, server)
    protocol   called with the RequestContext of a connection, or with a datagram server; returns a protocol
    async      the coroutine function, or the AsyncRequestHandler class
    message    never: there is a bridge for every strategy
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module

from plugport.contracts.interfaces import Handler
from plugport.contracts.traits import Style
from plugport.errors import IncompatibleError

__all__ = ["BRIDGES", "adapt", "bridge_between"]

#: The adapters of handlers of connections and of datagrams, by (from, to).
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
        "plugport.bridges.inline:protocol_factory",
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

#: Bridges that block the thread of the request with a loop.
_BLOCKING_THREAD: frozenset[tuple[Style, Style]] = frozenset({("async", "blocking")})

_NATIVE: dict[Style, tuple[str, str]] = {
    "protocol": ("plugport.bridges.inline:protocol_factory", "plugport.bridges.inline:protocol_factory"),
}

#: The bridges to blocking whose handlers of connections become protocols first, and the pump of protocols.
_PUMPED: frozenset[tuple[Style, Style]] = frozenset({("message", "blocking"), ("protocol", "blocking")})
_PUMP = "plugport.bridges.pump:StreamPump"

#: The adapters that secure the connections of protocols, and of handlers written in the style blocking. The
#: event loop of an async handler has its own TLS.
_SECURED: dict[Style, str] = {
    "protocol": "plugport.bridges.tls.protocols:secured_protocols",
    "blocking": "plugport.bridges.tls.sockets:secured_handler",
}


def bridge_between(
    style: Style, driven: Collection[Style], *, shares_thread: bool = False
) -> tuple[Style, Style] | None:
    """Return the bridge from *style* to one of *driven*; None if none is needed, or there is none.

    *shares_thread*: blocking requests take turns in one thread, and no bridge may block it.
    """
    if style in driven:
        return None
    for bridge in BRIDGES:
        if bridge[0] == style and bridge[1] in driven and not (shares_thread and bridge in _BLOCKING_THREAD):
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
) -> tuple[Style, Handler]:
    """Return a style of *driven*, and *handler* in the form of that style.

    *secured*: the styles of *driven* whose connections go through TLS; see plugport.bridges.tls. Raises
    IncompatibleError if there is no bridge; see bridge_between().
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
