"""ThreadingMixIn: a thread for each request."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated

from plugport import Help
from plugport.contracts import ClientAddress, Request, StrategyTraits

if TYPE_CHECKING:
    from plugport import BaseServer as _Server
else:
    _Server = object

__all__ = ["ThreadingMixIn"]


class ThreadingMixIn(_Server):
    """Runs each request in a thread of its own. (socketserver.ThreadingMixIn)"""

    traits = StrategyTraits(parallel=True)

    daemon_threads: Annotated[bool, Help("whether the process may end while threads run")] = False
    block_on_close: Annotated[
        bool, Help("whether server_close() waits for the threads, daemons excepted")
    ] = True

    _threads: Threads | NoThreads

    def process_request_thread(self, request: Request, client_address: ClientAddress) -> None:
        """Run the request; each thread calls this."""
        self.run_request(request, client_address)

    def process_request(self, request: Request, client_address: ClientAddress) -> None:
        """Start a thread for the request."""
        if self.block_on_close and "_threads" not in vars(self):
            self._threads = Threads()
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=self.daemon_threads
        )
        thread.start()
        # After start(): a thread that could not be started can't be joined.
        self._threads.append(thread)

    def server_close(self) -> None:
        """Take no more requests, wait for the threads, close."""
        self.stop_listening()
        if self.block_on_close:
            self._threads.join()
        super().server_close()


class Threads(list[threading.Thread]):
    """The threads to join: those that are no daemons, and were alive at the last check."""

    _reap_at = 8

    def append(self, thread: threading.Thread) -> None:
        """Add *thread*; whenever the list has doubled, drop those that have ended."""
        if thread.daemon:
            return
        super().append(thread)
        if len(self) >= self._reap_at:
            self[:] = [other for other in self if other.is_alive()]
            self._reap_at = max(8, 2 * len(self))

    def join(self) -> None:
        """Wait for all of them."""
        while self:
            self.pop().join()


class NoThreads:
    """Takes the place of Threads where server_close() waits for none."""

    def append(self, thread: threading.Thread) -> None:
        """Forget *thread*."""

    def join(self) -> None:
        """Return at once."""


ThreadingMixIn._threads = NoThreads()
