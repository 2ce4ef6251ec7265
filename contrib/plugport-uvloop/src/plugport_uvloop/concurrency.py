"""UvloopMixIn: the asyncio strategy on the event loop of uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

import uvloop
from plugport_builtins.concurrency.asyncio import AsyncioMixIn

__all__ = ["UvloopMixIn"]


# libuv makes a pipe for signals with its first event loop, and keeps it until the process ends. It is made at
# import, so that it does not look like a leak of a service.
uvloop.new_event_loop().close()


class UvloopMixIn(AsyncioMixIn):
    """Runs protocols and coroutines on uvloop's event loop, and blocking handlers in threads beside it."""

    #: The strategy's name says which event loop it uses.
    hidden_options: ClassVar[frozenset[str]] = frozenset({"loop_factory"})
    new_event_loop: ClassVar[Callable[[], asyncio.AbstractEventLoop] | None] = staticmethod(
        uvloop.new_event_loop
    )
