"""The base classes of handlers, the framings of messages, and the styles that handlers are written in."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugport.contracts.traits import STYLES, Style, TransportKind, unwrapped
    from plugport.handlers.base import (
        AsyncRequestHandler,
        BaseRequestHandler,
        DatagramRequestHandler,
        SocketWriter,
        StreamRequestHandler,
    )
    from plugport.handlers.framing import (
        DelimiterFraming,
        FixedFraming,
        Framing,
        FramingClass,
        FramingError,
        LengthPrefixedFraming,
        LinesFraming,
        NetstringFraming,
        framing_factory,
    )
    from plugport.handlers.messages import MessageHandler, Respond, framing_maker, responder
    from plugport.handlers.styles import evident_style_of, style_of, transports_of
else:
    from plugport._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "plugport.contracts.traits": (
                "STYLES",
                "Style",
                "TransportKind",
                "unwrapped",
            ),
            "plugport.handlers.base": (
                "AsyncRequestHandler",
                "BaseRequestHandler",
                "DatagramRequestHandler",
                "SocketWriter",
                "StreamRequestHandler",
            ),
            "plugport.handlers.framing": (
                "DelimiterFraming",
                "FixedFraming",
                "Framing",
                "FramingClass",
                "FramingError",
                "LengthPrefixedFraming",
                "LinesFraming",
                "NetstringFraming",
                "framing_factory",
            ),
            "plugport.handlers.messages": (
                "MessageHandler",
                "Respond",
                "framing_maker",
                "responder",
            ),
            "plugport.handlers.styles": (
                "evident_style_of",
                "style_of",
                "transports_of",
            ),
        },
    )

__all__ = [
    "STYLES",
    "AsyncRequestHandler",
    "BaseRequestHandler",
    "DatagramRequestHandler",
    "DelimiterFraming",
    "FixedFraming",
    "Framing",
    "FramingClass",
    "FramingError",
    "LengthPrefixedFraming",
    "LinesFraming",
    "MessageHandler",
    "NetstringFraming",
    "Respond",
    "SocketWriter",
    "StreamRequestHandler",
    "Style",
    "TransportKind",
    "evident_style_of",
    "framing_factory",
    "framing_maker",
    "responder",
    "style_of",
    "transports_of",
    "unwrapped",
]
