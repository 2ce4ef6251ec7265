"""UvloopMixIn: the asyncio strategy on the event loop of uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

import uvloop
from plugport_builtins.concurrency.asyncio import AsyncioMixIn

__all__ = ["UvloopMixIn"]


# With its first event loop libuv makes a pipe for signals, which it keeps as long as the process lives.
# Better now than while somebody counts descriptors.
uvloop.new_event_loop().close()


class UvloopMixIn(AsyncioMixIn):
    """Runs protocols and coroutines on uvloop's event loop, and blocking handlers in threads beside it."""

    #: No option here: which event loop it is, is said by the strategy's name.
    loop_factory: ClassVar[None] = None  # type: ignore[misc]
    new_event_loop: ClassVar[Callable[[], asyncio.AbstractEventLoop] | None] = staticmethod(
        uvloop.new_event_loop
    )
