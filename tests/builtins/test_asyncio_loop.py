"""AsyncioLoop: what servers that live in an asyncio event loop need of it, and nothing else tries."""

from __future__ import annotations

import asyncio
import os

from plugport.poller import READ, WRITE
from plugport_builtins.concurrency.asyncio_loop import AsyncioLoop


def test_what_is_watched_for_can_be_changed() -> None:
    async def main() -> list[tuple[str, int]]:
        loop, seen = AsyncioLoop(60.0), []
        reader, writer = os.pipe()
        try:
            loop.register(writer, READ, lambda events: seen.append(("first", events)))
            await asyncio.sleep(0)
            loop.modify(writer, WRITE, lambda events: seen.append(("second", events)))
            while not seen:
                await asyncio.sleep(0)
            loop.modify(writer, 0, lambda events: seen.append(("third", events)))
            for _ in range(3):
                await asyncio.sleep(0)
            found = list(seen[:1])
            assert ("third", WRITE) not in seen
            loop.unregister(writer)
            return found
        finally:
            os.close(reader)
            os.close(writer)

    assert asyncio.run(main()) == [("second", WRITE)]
