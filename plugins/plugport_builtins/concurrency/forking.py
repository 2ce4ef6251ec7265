"""ForkingMixIn: a child process for each request."""

from __future__ import annotations

import os

from plugport.contracts import ClientAddress, Loop, Request, StrategyTraits
from plugport_builtins.concurrency.children import ChildrenMixIn

__all__ = ["ForkingMixIn"]


class ForkingMixIn(ChildrenMixIn):
    """Runs each request in a forked child. (socketserver.ForkingMixIn)

    What a handler changes in memory is lost with its child.
    """

    traits = StrategyTraits(isolates_memory=True)

    timeout = 300

    def enter_loop(self, loop: Loop) -> None:
        """Open the pipe of reports, before requests may use up the descriptors."""
        super().enter_loop(loop)
        self.open_reports()

    def process_request(self, request: Request, client_address: ClientAddress) -> None:
        """Fork: the parent takes the next request, the child runs this one and exits."""
        parent = os.getpid()
        try:
            if not self.fork_request(request):
                return
            self.finish_request(request, client_address)
        except BaseException as error:
            if os.getpid() == parent:
                raise  # fork() failed
            self.exit_child(request, client_address, error)
        self.exit_child(request, client_address)
