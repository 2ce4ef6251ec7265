"""A concurrency strategy for plugport: asyncio on the event loop of uvloop."""
