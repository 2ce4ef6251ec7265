"""SyncMixIn: one request after the other; a long one may finish in a forked child."""

from __future__ import annotations

import os
import threading

from plugport import RequestContext
from plugport.contracts import ClientAddress, Request, RequestHandedOver, StrategyTraits
from plugport_builtins.concurrency.children import ChildrenMixIn

__all__ = ["SyncMixIn"]


class ForkCounter:
    """Counts the forks of this process, and its generation: the forks between it and the first process."""

    def __init__(self) -> None:
        self.forks = 0
        self.generation = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_parent=self._in_parent, after_in_child=self._in_child)

    def _in_parent(self) -> None:
        self.forks += 1

    def _in_child(self) -> None:
        self.forks += 1
        self.generation += 1


fork_counter = ForkCounter()


class SyncMixIn(ChildrenMixIn):
    """Runs each request in the serving thread, before the next one is taken.

    A handler whose request takes long may finish it in a forked child: by ``self.finish_in_child()``, with
    reaping and limits; or by an os.fork() of its own: the child exits when its handle() returns, and the
    parent leaves the connection to the child.
    """

    traits = StrategyTraits(serial=True)

    _timer: threading.Timer | None = None

    def process_request(self, request: Request, client_address: ClientAddress) -> None:
        """Run the request now."""
        if self.request_timeout is not None:
            self._start_timer(self.active_requests[id(request)], self.request_timeout)
        try:
            self.run_request(request, client_address)
        finally:
            if self._timer is not None:
                self._stop_timer()

    def _start_timer(self, context: RequestContext, limit: float) -> None:
        # The loop, which enforces request_timeout elsewhere, does not run while a handler does.
        reason = f"it took longer than request_timeout = {limit} s"
        self._timer = threading.Timer(limit, self.expire_request, (context, reason))
        self._timer.daemon = True
        self._timer.start()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            timer.join()

    def finish_request(self, request: Request, client_address: ClientAddress) -> None:
        """Run the handler, and find out whether it forked."""
        forks, generation = fork_counter.forks, fork_counter.generation
        try:
            super().finish_request(request, client_address)
        except RequestHandedOver:
            raise
        except BaseException as error:
            if fork_counter.generation != generation:
                self.exit_child(request, client_address, error)
            raise
        if fork_counter.generation != generation:
            self.exit_child(request, client_address)
        if fork_counter.forks != forks:
            # The handler forked, and its child may still be talking to the client.
            self.end_request(request)
            self.close_request(request)
            raise RequestHandedOver

    def finish_in_child(self, request: Request, client_address: ClientAddress) -> None:
        """Return in a forked child; in the parent, raise RequestHandedOver."""
        self._stop_timer()  # its thread must not run when the process forks; now the loop has the timeout
        self.hand_over(request)
