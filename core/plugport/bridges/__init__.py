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

from collections.abc import Callable
from importlib import import_module
from typing import Any

from plugport.errors import IncompatibleError
from plugport.styles import Style

__all__ = ["BRIDGES", "adapt", "bridge_between"]

#: (from, to): the adapters of handlers of connections and of datagrams.
BRIDGES: dict[tuple[Style, Style], tuple[str, str]] = {
    ("message", "protocol"): (
        "plugport.bridges.message:framed_protocol",
        "plugport.bridges.message:message_datagram_protocol",
    ),
    ("message", "blocking"): (
        "plugport.bridges.pump:pumped_messages",
        "plugport.bridges.message:answered_datagrams",
    ),
    ("protocol", "blocking"): (
        "plugport.bridges.pump:pumped_stream",
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


def bridge_between(
    style: Style, driven: frozenset[str], *, shares_thread: bool = False
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
    handler: Any, style: Style, driven: frozenset[str], *, stream: bool, shares_thread: bool = False
) -> tuple[Style, Callable[..., Any]]:
    """Return *handler* in the form of a style that is driven, and that style.

    Raises IncompatibleError if no bridge leads there; see bridge_between().
    """
    bridge = bridge_between(style, driven, shares_thread=shares_thread)
    if bridge is None and style not in driven:
        raise IncompatibleError(f"no bridge leads from {style} to {' or '.join(sorted(driven))}")
    if bridge is not None:
        adapters, style = BRIDGES[bridge], bridge[1]
    elif style in _NATIVE:
        adapters = _NATIVE[style]
    else:
        return style, handler
    module, _, name = adapters[0 if stream else 1].partition(":")
    adapter: Callable[[Any], Callable[..., Any]] = getattr(import_module(module), name)
    return style, adapter(handler)
