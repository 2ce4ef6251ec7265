"""The styles that handlers are written in, recognised by what a handler is.

A handler that is
    blocking   a class, or functools.partial of one, that is called with (request, client_address, server)
    protocol   a subclass of asyncio.BaseProtocol
    async      a coroutine function, a class whose ``style`` says so, or a subclass of
               asyncio.StreamReaderProtocol
    message    a plain function of one message, or a subclass of MessageHandler
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any, Literal

from plugport.contracts.elsewhere import APPLICATIONS
from plugport.errors import TargetError
from plugport.handlers.base import Transport

__all__ = ["STYLES", "Style", "evident_style_of", "style_of", "transports_of", "unwrapped"]

Style = Literal["blocking", "protocol", "async", "message"]
STYLES: tuple[Style, ...] = ("blocking", "protocol", "async", "message")

_BOTH: frozenset[Transport] = frozenset({"stream", "datagram"})
_STREAM: frozenset[Transport] = frozenset({"stream"})
_DATAGRAM: frozenset[Transport] = frozenset({"datagram"})


def unwrapped(handler: Any) -> Any:
    """Return the class or function inside functools.partial, which is where attributes are."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return handler


def style_of(handler: Any) -> Style:
    """Return the style of *handler*. Raises TargetError if it is no handler."""
    inner = unwrapped(handler)
    if isinstance(inner, type):
        declared = getattr(inner, "style", None)
        if declared in STYLES:
            return declared  # type: ignore[no-any-return]
        if _is_subclass(inner, "plugport.handlers.messages", "MessageHandler"):
            return "message"
        if _is_subclass(inner, "asyncio.streams", "StreamReaderProtocol"):
            return "async"  # a protocol by its base, but its readers wait on an event loop
        if _is_subclass(inner, "asyncio.protocols", "BaseProtocol"):
            return "protocol"
        if hasattr(inner, "serve_forever") or not _takes(handler, 3) or _application_handler(inner):
            raise _refusal(inner, "it is not called with (request, client_address, server)")
        return "blocking"
    if inspect.iscoroutinefunction(inner):
        if not _takes(handler, 2):
            raise _refusal(inner, "a coroutine function takes (reader, writer)")
        return "async"
    if inspect.isroutine(inner):
        if not _takes(handler, 1):
            raise _refusal(inner, "a function takes one message and returns the reply")
        return "message"
    raise _refusal(inner, "neither a class nor a function")


def _refusal(target: Any, reason: str) -> TargetError:
    """Return the error for what is no handler; who gives an application is told which handler takes it."""
    handler = _application_handler(target)
    if handler is not None:
        reason += f"; an application is served by the handler {handler}, with -o app=MODULE:NAME"
    return TargetError(f"{target!r} is no handler: {reason}")


def _application_handler(target: Any) -> str | None:
    """Return the name of the handler that *target* is an application for; None if it looks like none."""
    try:
        first, second = tuple(inspect.signature(target).parameters)[-2:]
    except Exception:  # it may be anything, and raise what it likes when it is looked at
        return None
    return APPLICATIONS.get((first, second))


def evident_style_of(handler: Any) -> Style:
    """Return the style of what was given to a server class in code; "blocking" unless it is plain.

    socketserver calls whatever it is given: a function there is a maker of handlers, no message
    handler.
    """
    inner = unwrapped(handler)
    if isinstance(inner, type) or inspect.iscoroutinefunction(inner):
        try:
            return style_of(handler)
        except TargetError:
            pass
    return "blocking"


def transports_of(handler: Any) -> frozenset[Transport]:
    """Return what *handler* can serve: "stream", "datagram" or both.

    Its own ``transports``, else what follows from the base class of the standard library, or from
    the names of a coroutine function's arguments: (reader, writer) or (message, reply).
    """
    inner = unwrapped(handler)
    declared = getattr(inner, "transports", None)
    if declared is not None:
        return frozenset(declared)
    if inspect.iscoroutinefunction(inner):
        names = list(inspect.signature(inner).parameters)[-2:]
        if names == ["reader", "writer"]:
            return _STREAM
        if names[-1] == "reply":
            return _DATAGRAM
    for module, name, transports in (
        ("socketserver", "StreamRequestHandler", _STREAM),
        ("socketserver", "DatagramRequestHandler", _DATAGRAM),
        ("asyncio.protocols", "Protocol", _STREAM),
        ("asyncio.protocols", "BufferedProtocol", _STREAM),
        ("asyncio.protocols", "DatagramProtocol", _DATAGRAM),
    ):
        if _is_subclass(inner, module, name):
            return transports
    return _BOTH


def _is_subclass(target: Any, module: str, name: str) -> bool:
    # A module that is not imported has no subclasses, and importing asyncio takes its time.
    base = getattr(sys.modules.get(module), name, None)
    return isinstance(target, type) and isinstance(base, type) and issubclass(target, base)


def _takes(target: Any, count: int) -> bool:
    try:
        inspect.signature(target).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        pass  # some classes written in C tell no signature
    return True
