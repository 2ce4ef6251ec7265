"""The types of the ASGI interface. (asgi.readthedocs.io, Applications)"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

__all__ = ["ASGIApplication", "Message", "Receive", "Scope", "Send", "State"]

#: What an application is told of a connection or request.
Scope: TypeAlias = dict[str, Any]
#: An event, sent by the server or by the application.
Message: TypeAlias = dict[str, Any]
#: The objects that an application's lifespan shares with its requests.
State: TypeAlias = dict[str, Any]

Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
