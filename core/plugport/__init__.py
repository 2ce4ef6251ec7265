"""plugport: a pluggable platform for network services.

A service is a combination of three named components: a server (how requests arrive), a
concurrency strategy (how they are scheduled) and a handler (what is done with each). This module
holds what authors of components and plugins need; docs/ has the tutorial.
"""

from plugport.component import Component
from plugport.context import RequestContext
from plugport.errors import PlugportError
from plugport.handlers import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler
from plugport.hookspecs import hookimpl
from plugport.members import Help
from plugport.server import BaseServer

__all__ = [
    "BaseRequestHandler",
    "BaseServer",
    "Component",
    "DatagramRequestHandler",
    "Help",
    "PlugportError",
    "RequestContext",
    "StreamRequestHandler",
    "hookimpl",
]
