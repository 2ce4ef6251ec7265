"""What components, strategies, servers and hooks are to each other: types and records, no behaviour."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugport.contracts.component import KINDS, PARTS, Component, Kind, Part
    from plugport.contracts.findings import STATUSES, Finding, Status
    from plugport.contracts.hints import Hints
    from plugport.contracts.hooks import NO_HOOKS, SERVER_HOOKS, ServerHooks
    from plugport.contracts.interfaces import (
        AnyProtocol,
        Buffer,
        ClientAddress,
        DatagramRequest,
        DetachableTransport,
        Handler,
        Request,
        ServerAddress,
        StreamRequest,
        Transport,
    )
    from plugport.contracts.loops import (
        ABORT_GRACE,
        READ,
        WRITE,
        Callback,
        Loop,
        LoopMember,
        Poller,
        TimerHandle,
        TransportLoop,
    )
    from plugport.contracts.members import Help, configure
    from plugport.contracts.registry import ComponentRegistry, RegisteredComponent
    from plugport.contracts.requests import Outcome, RequestContext, RequestHandedOver, Server
    from plugport.contracts.traits import (
        STYLES,
        HandlerTraits,
        ServerTraits,
        StrategyTraits,
        Style,
        TransportKind,
        handler_traits,
        handler_warnings,
        server_traits,
        strategy_traits,
        unwrapped,
    )
    from plugport.contracts.wording import describe_error, nearest, one_of
else:
    from plugport._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "plugport.contracts.component": (
                "KINDS",
                "PARTS",
                "Component",
                "Kind",
                "Part",
            ),
            "plugport.contracts.findings": (
                "STATUSES",
                "Finding",
                "Status",
            ),
            "plugport.contracts.hints": ("Hints",),
            "plugport.contracts.hooks": (
                "NO_HOOKS",
                "SERVER_HOOKS",
                "ServerHooks",
            ),
            "plugport.contracts.interfaces": (
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
            ),
            "plugport.contracts.loops": (
                "ABORT_GRACE",
                "READ",
                "WRITE",
                "Callback",
                "Loop",
                "LoopMember",
                "Poller",
                "TimerHandle",
                "TransportLoop",
            ),
            "plugport.contracts.members": (
                "Help",
                "configure",
            ),
            "plugport.contracts.registry": (
                "ComponentRegistry",
                "RegisteredComponent",
            ),
            "plugport.contracts.requests": (
                "Outcome",
                "RequestContext",
                "RequestHandedOver",
                "Server",
            ),
            "plugport.contracts.traits": (
                "STYLES",
                "HandlerTraits",
                "ServerTraits",
                "StrategyTraits",
                "Style",
                "TransportKind",
                "handler_traits",
                "handler_warnings",
                "server_traits",
                "strategy_traits",
                "unwrapped",
            ),
            "plugport.contracts.wording": (
                "describe_error",
                "nearest",
                "one_of",
            ),
        },
    )

__all__ = [
    "ABORT_GRACE",
    "KINDS",
    "NO_HOOKS",
    "PARTS",
    "READ",
    "SERVER_HOOKS",
    "STATUSES",
    "STYLES",
    "WRITE",
    "AnyProtocol",
    "Buffer",
    "Callback",
    "ClientAddress",
    "Component",
    "ComponentRegistry",
    "DatagramRequest",
    "DetachableTransport",
    "Finding",
    "Handler",
    "HandlerTraits",
    "Help",
    "Hints",
    "Kind",
    "Loop",
    "LoopMember",
    "Outcome",
    "Part",
    "Poller",
    "RegisteredComponent",
    "Request",
    "RequestContext",
    "RequestHandedOver",
    "Server",
    "ServerAddress",
    "ServerHooks",
    "ServerTraits",
    "Status",
    "StrategyTraits",
    "StreamRequest",
    "Style",
    "TimerHandle",
    "Transport",
    "TransportKind",
    "TransportLoop",
    "configure",
    "describe_error",
    "handler_traits",
    "handler_warnings",
    "nearest",
    "one_of",
    "server_traits",
    "strategy_traits",
    "unwrapped",
]
