"""plugport: a pluggable platform for network services.

A service is a combination of three named components: a server (how requests arrive), a
concurrency strategy (how they are scheduled) and a handler (what is done with each). This module
holds what authors of components and plugins need; docs/ has the tutorial.
"""

from __future__ import annotations

# Not typing's: to import that takes longer than all that the command line does before it can be interrupted.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plugport.combination import compose
    from plugport.component import Component
    from plugport.context import RequestContext
    from plugport.doctor.findings import Finding
    from plugport.errors import PlugportError
    from plugport.handlers import (
        AsyncRequestHandler,
        BaseRequestHandler,
        DatagramRequestHandler,
        StreamRequestHandler,
    )
    from plugport.hookspecs import hookimpl
    from plugport.members import Help
    from plugport.messages import MessageHandler
    from plugport.server import BaseServer

__all__ = [
    "AsyncRequestHandler",
    "BaseRequestHandler",
    "BaseServer",
    "Component",
    "DatagramRequestHandler",
    "Finding",
    "Help",
    "MessageHandler",
    "PlugportError",
    "RequestContext",
    "StreamRequestHandler",
    "compose",
    "hookimpl",
]


# Imported when they are asked for: a plugin that only registers does without most, and a plugin of
# pytest's, which is loaded wherever plugport is installed, without all of them.
_LATE = {
    "AsyncRequestHandler": "plugport.handlers",
    "BaseRequestHandler": "plugport.handlers",
    "BaseServer": "plugport.server",
    "Component": "plugport.component",
    "DatagramRequestHandler": "plugport.handlers",
    "Finding": "plugport.doctor.findings",
    "Help": "plugport.members",
    "MessageHandler": "plugport.messages",
    "PlugportError": "plugport.errors",
    "RequestContext": "plugport.context",
    "StreamRequestHandler": "plugport.handlers",
    "compose": "plugport.combination",
    "hookimpl": "plugport.hookspecs",
}


def __getattr__(name: str) -> Any:
    module = _LATE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(module), name)
    return value
