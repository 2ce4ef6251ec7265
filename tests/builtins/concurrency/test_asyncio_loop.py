"""AsyncioLoop: what servers that live in an asyncio event loop need of it, and nothing else tries."""

from __future__ import annotations

import asyncio
import os

from plugport.contracts.loops import READ, WRITE
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


class _Place:
    """A listener that counts the turns that it is asked in."""

    def __init__(self, *, steady: bool) -> None:
        self.steady = steady
        self.polled = True
        self.turns = 0

    def settle(self) -> None:
        pass

    def prepare(self, timeout: float) -> float:
        self.turns += 1
        return timeout


async def _turns_of(place: _Place, *, asks: bool) -> int:
    loop, seen = AsyncioLoop(60.0), []
    loop._members.append(place)  # type: ignore[arg-type]
    serving = asyncio.ensure_future(loop.run())
    reader, writer = os.pipe()
    try:
        await asyncio.sleep(0)
        before = place.turns

        def ready(events: int) -> None:
            seen.append(events)
            loop.unregister(writer)
            if asks:
                loop.reconsider()
                loop.reconsider()

        loop.register(writer, WRITE, ready)
        while not seen:
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        return place.turns - before
    finally:
        serving.cancel()
        loop._timer.cancel()  # type: ignore[union-attr]
        os.close(reader)
        os.close(writer)


def test_an_event_has_a_turn_where_it_may_decide_something() -> None:
    assert asyncio.run(_turns_of(_Place(steady=False), asks=False)) == 1
    assert asyncio.run(_turns_of(_Place(steady=True), asks=False)) == 0


def test_who_asks_for_a_turn_has_one() -> None:
    assert asyncio.run(_turns_of(_Place(steady=True), asks=True)) == 1
