"""ThreadPoolMixIn: a bounded number of threads that take requests from a bounded queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from plugport import Help
from plugport.contracts import ClientAddress, Request, StrategyTraits
from plugport_builtins.concurrency.workers import WorkerPool

if TYPE_CHECKING:
    from plugport import BaseServer as _Server
else:
    _Server = object

__all__ = ["ThreadPoolMixIn"]


class ThreadPoolMixIn(_Server):
    """Runs requests in a bounded number of worker threads, started as they are needed.

    When all workers are busy and the queue is full, the server stops accepting.
    """

    traits = StrategyTraits(parallel=True)

    max_workers: Annotated[int, Help("most threads", gt=0)] = 32
    max_queue: Annotated[int, Help("most requests that wait for a thread (0: none)", ge=0)] = 128
    daemon_threads: Annotated[bool, Help("whether the process may end while threads run")] = False
    block_on_close: Annotated[
        bool, Help("whether server_close() waits for the threads, daemons excepted")
    ] = True

    _pool: WorkerPool | None = None

    def has_room(self) -> bool:
        """Return whether a worker or a place in the queue is free."""
        return (self._pool is None or self._pool.has_room()) and super().has_room()

    def process_request(self, request: Request, client_address: ClientAddress) -> None:
        """Give the request to a worker."""
        if self._pool is None:
            self._pool = WorkerPool(
                self.max_workers, self.max_queue, self.notify_room, daemon=self.daemon_threads
            )
        self._pool.submit(self.run_request, request, client_address)

    def server_close(self) -> None:
        """Take no more requests, let the workers finish those in the queue, close."""
        self.stop_listening()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(wait=self.block_on_close)
        super().server_close()
