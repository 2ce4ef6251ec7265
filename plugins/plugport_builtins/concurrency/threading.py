"""ThreadingMixIn: a thread for each request."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from plugport import Help

if TYPE_CHECKING:
    from plugport import BaseServer as _Server
else:
    _Server = object

__all__ = ["ThreadingMixIn"]


class ThreadingMixIn(_Server):
    """Runs each request in a thread of its own. (socketserver.ThreadingMixIn)"""

    multithreaded: ClassVar[bool] = True

    daemon_threads: Annotated[bool, Help("let the process end although threads still run")] = False
    block_on_close: Annotated[bool, Help("server_close() waits for the threads (but not for daemons)")] = True

    _threads: Threads | NoThreads

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Run the request; what each thread runs."""
        self.run_request(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for the request."""
        if self.block_on_close and "_threads" not in vars(self):
            self._threads = Threads()
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=self.daemon_threads
        )
        thread.start()
        # Only now: a thread that could not be started can't be joined.
        self._threads.append(thread)

    def server_close(self) -> None:
        """Take no more requests, wait for the threads, close."""
        self.stop_listening()
        if self.block_on_close:
            self._threads.join()
        super().server_close()


class Threads(list[threading.Thread]):
    """The threads to be joined: those that still run, or did when last looked at, and are no daemons."""

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
    """Stands for threads that nobody waits for."""

    def append(self, thread: threading.Thread) -> None:
        """Forget *thread*."""

    def join(self) -> None:
        """Wait for nobody."""


ThreadingMixIn._threads = NoThreads()
