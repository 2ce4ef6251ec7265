"""The styles that handlers are written in, recognised by what a handler is.

A handler that is
    blocking   a class, or functools.partial of one, that is called with (request, client_address, server)
    protocol   a subclass of asyncio.BaseProtocol
    async      a coroutine function, a class whose ``style`` says so, or a subclass of
               asyncio.StreamReaderProtocol
    message    a plain function of one message, or a subclass of MessageHandler
"""

from __future__ import annotations

import inspect
from collections.abc import Collection

from plugport.contracts.elsewhere import APPLICATIONS
from plugport.contracts.traits import Style, TransportKind, handler_traits, is_subclass_of, unwrapped
from plugport.errors import TargetError

__all__ = ["evident_style_of", "style_of", "transports_of"]


def style_of(handler: object) -> Style:
    """Return the style of *handler*. Raises TargetError if it is no handler."""
    inner = unwrapped(handler)
    if isinstance(inner, type):
        declared = handler_traits(inner).style
        if declared is not None:
            return declared
        if is_subclass_of(inner, "plugport.handlers.messages", "MessageHandler"):
            return "message"
        if is_subclass_of(inner, "asyncio.streams", "StreamReaderProtocol"):
            return "async"  # a protocol by its base, but its readers wait on an event loop
        if is_subclass_of(inner, "asyncio.protocols", "BaseProtocol"):
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


def _refusal(target: object, reason: str) -> TargetError:
    """Return the error for what is no handler; who gives an application is told which handler takes it."""
    handler = _application_handler(target)
    if handler is not None:
        reason += f"; an application is served by the handler {handler}, with -o app=MODULE:NAME"
    return TargetError(f"{target!r} is no handler: {reason}")


def _application_handler(target: object) -> str | None:
    """Return the name of the handler that *target* is an application for; None if it looks like none."""
    if not callable(target):
        return None
    try:
        first, second = tuple(inspect.signature(target).parameters)[-2:]
    except Exception:  # it may be anything, and raise what it likes when it is looked at
        return None
    return APPLICATIONS.get((first, second))


def evident_style_of(handler: object) -> Style:
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


def transports_of(handler: object) -> Collection[TransportKind]:
    """Return what *handler* can serve: "stream", "datagram" or both."""
    return handler_traits(handler).transports


def _takes(target: object, count: int) -> bool:
    if not callable(target):
        return False
    try:
        inspect.signature(target).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        pass  # some classes written in C tell no signature
    return True
