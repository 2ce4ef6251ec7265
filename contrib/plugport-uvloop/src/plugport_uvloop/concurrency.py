"""UvloopMixIn: the asyncio strategy on the event loop of uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

import uvloop
from plugport_builtins.concurrency.asyncio import AsyncioMixIn

__all__ = ["UvloopMixIn"]


class UvloopMixIn(AsyncioMixIn):
    """Runs protocols and coroutines on the event loop of uvloop, and blocking handlers in threads beside it."""

    #: No option here: which event loop it is, is said by the strategy's name.
    loop_factory: ClassVar[None] = None  # type: ignore[misc]
    new_event_loop: ClassVar[Callable[[], asyncio.AbstractEventLoop] | None] = staticmethod(
        uvloop.new_event_loop
    )
