"""plugport: a pluggable platform for network services.

A service is a combination of three named components: a server (how requests arrive), a
concurrency strategy (how they are scheduled) and a handler (what is done with each). This module
holds what authors of components and plugins need; docs/ has the tutorial.
"""

from __future__ import annotations

# Not typing's: to import that takes longer than all that the command line does before an interrupt is caught.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugport.combination.verdicts import compose
    from plugport.contracts.component import Component
    from plugport.contracts.findings import Finding
    from plugport.contracts.members import Help
    from plugport.contracts.requests import RequestContext
    from plugport.contracts.traits import HandlerTraits, ServerTraits, StrategyTraits
    from plugport.errors import PlugportError
    from plugport.handlers.base import (
        AsyncRequestHandler,
        BaseRequestHandler,
        DatagramRequestHandler,
        StreamRequestHandler,
    )
    from plugport.handlers.messages import MessageHandler
    from plugport.plugin.specs import hookimpl
    from plugport.plugin.targets import resolve_target
    from plugport.serving.server import BaseServer
else:
    from plugport._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "plugport.combination.verdicts": ("compose",),
            "plugport.contracts.component": ("Component",),
            "plugport.contracts.findings": ("Finding",),
            "plugport.contracts.members": ("Help",),
            "plugport.contracts.requests": ("RequestContext",),
            "plugport.contracts.traits": (
                "HandlerTraits",
                "ServerTraits",
                "StrategyTraits",
            ),
            "plugport.errors": ("PlugportError",),
            "plugport.handlers.base": (
                "AsyncRequestHandler",
                "BaseRequestHandler",
                "DatagramRequestHandler",
                "StreamRequestHandler",
            ),
            "plugport.handlers.messages": ("MessageHandler",),
            "plugport.plugin.specs": ("hookimpl",),
            "plugport.plugin.targets": ("resolve_target",),
            "plugport.serving.server": ("BaseServer",),
        },
    )

__all__ = [
    "AsyncRequestHandler",
    "BaseRequestHandler",
    "BaseServer",
    "Component",
    "DatagramRequestHandler",
    "Finding",
    "HandlerTraits",
    "Help",
    "MessageHandler",
    "PlugportError",
    "RequestContext",
    "ServerTraits",
    "StrategyTraits",
    "StreamRequestHandler",
    "compose",
    "hookimpl",
    "resolve_target",
]
