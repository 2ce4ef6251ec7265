"""WorkerPool: a bounded number of threads that take work from a bounded queue."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["WorkerPool"]


class WorkerPool:
    """At most *max_workers* threads, started when they are needed, and kept.

    *max_queue*: how many calls may wait for a thread. *notify* is called in a worker thread when has_room()
    may have become true.
    """

    def __init__(
        self, max_workers: int, max_queue: int, notify: Callable[[], None], *, daemon: bool = False
    ) -> None:
        self._max_workers = max_workers
        self._limit = max_workers + max_queue
        self._notify = notify
        self._daemon = daemon
        self._threads: list[threading.Thread] = []
        self._queue: SimpleQueue[tuple[Callable[..., object], tuple[object, ...]] | None] = SimpleQueue()
        self._unfinished = 0
        self._lock = threading.Lock()

    def has_room(self) -> bool:
        """Return whether a thread or a place in the queue is free."""
        return self._unfinished < self._limit

    def submit(self, work: Callable[..., object], *args: object) -> None:
        """Call ``work(*args)``, which must not raise, in a thread.

        Raises RuntimeError if there is no thread yet and the system can't start one.
        """
        with self._lock:
            self._unfinished += 1
            busy = self._unfinished > len(self._threads)
        if busy and len(self._threads) < self._max_workers:
            self._add_thread()
        self._queue.put((work, args))

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._run, daemon=self._daemon)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                self._finish()
                raise
            return  # the system starts no more threads: the others do the work
        self._threads.append(thread)

    def _finish(self) -> None:
        with self._lock:
            self._unfinished -= 1

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            work, args = item
            try:
                work(*args)
            except SystemExit:
                pass  # ends this call, as it would end a thread
            except BaseException:
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            finally:
                del item, work, args  # keep no reference while waiting
                self._finish()
                self._notify()

    def close(self, *, wait: bool) -> None:
        """End the threads after the queued calls; with *wait*, wait until they have ended."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._queue.put(None)
        if wait:
            for thread in threads:
                if not thread.daemon:
                    thread.join()
