"""BoundedMixIn: a strategy that runs requests in the threads of a concurrent.futures executor."""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from plugport import Help, StrategyTraits

if TYPE_CHECKING:
    from plugport import BaseServer as Server
else:
    Server = object


class BoundedMixIn(Server):
    """Serves as many requests at once as there are threads; while all are busy, accepts no more."""

    traits = StrategyTraits(parallel=True)

    max_threads: Annotated[int, Help("requests served at once", gt=0)] = 8
    block_on_close: Annotated[bool, Help("server_close() waits for the threads")] = True

    @cached_property
    def executor(self) -> ThreadPoolExecutor:
        """The threads; it starts them as they are needed."""
        return ThreadPoolExecutor(self.max_threads)

    def has_room(self) -> bool:
        """Return whether a thread is free for one more request."""
        return len(self.active_requests) < self.max_threads and super().has_room()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Have a thread run the request."""
        self.executor.submit(self.run_request, request, client_address)

    def server_close(self) -> None:
        """Take no more requests, let the threads finish those that they have, and close."""
        self.stop_listening()
        self.executor.shutdown(wait=self.block_on_close)
        super().server_close()
