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
from collections.abc import Callable, Collection

from plugport.contracts.hints import Hints
from plugport.contracts.traits import Style, TransportKind, handler_traits, is_subclass_of, unwrapped
from plugport.errors import TargetError

__all__ = ["evident_style_of", "style_of", "transports_of"]


def style_of(handler: object, hints: Callable[[], Hints] = Hints) -> Style:
    """Return the style of *handler*. Raises TargetError if it is no handler.

    *hints* is called to recognise an application, a callable that is no handler; without hints a class that
    takes three arguments is a handler.
    """
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
        if hasattr(inner, "serve_forever") or not _takes(handler, 3) or _application_hint(inner, hints):
            raise _refusal(inner, "it is not called with (request, client_address, server)", hints)
        return "blocking"
    if inspect.iscoroutinefunction(inner):
        if not _takes(handler, 2):
            raise _refusal(inner, "a coroutine function takes (reader, writer)", hints)
        return "async"
    if inspect.isroutine(inner):
        if not _takes(handler, 1):
            raise _refusal(inner, "a function takes one message and returns the reply", hints)
        return "message"
    raise _refusal(inner, "neither a class nor a function", hints)


def _refusal(target: object, reason: str, hints: Callable[[], Hints]) -> TargetError:
    hint = _application_hint(target, hints)
    if hint:
        reason += f"; an application is served by the handler {hint}"
    return TargetError(f"{target!r} is no handler: {reason}")


def _application_hint(target: object, hints: Callable[[], Hints]) -> str:
    """Return the handler that serves *target* if it has the parameters of an application, else ""."""
    if not callable(target):
        return ""
    try:
        first, second = tuple(inspect.signature(target).parameters)[-2:]
    except Exception:  # the target may be any object, and raise any exception when it is inspected
        return ""
    if (first, second) == ("client_address", "server"):
        return ""  # a handler of socketserver: most are, and need no hints
    return hints().applications.get((first, second), "")


def evident_style_of(handler: object) -> Style:
    """Return the style of a handler that was given to a server class in code, without a registry.

    "blocking" for all that is neither a class nor a coroutine function: for socketserver a plain function is
    a factory of handlers, not a message handler.
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
