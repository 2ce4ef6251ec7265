"""ForkingMixIn: a child process for each request."""

from __future__ import annotations

from typing import Any, ClassVar

from plugport_builtins.concurrency.children import ChildrenMixIn, fork_counter

__all__ = ["ForkingMixIn"]


class ForkingMixIn(ChildrenMixIn):
    """Runs each request in a forked child. (socketserver.ForkingMixIn)

    What a handler changes in memory is gone with its child.
    """

    isolates_memory: ClassVar[bool] = True

    timeout = 300

    def get_request(self) -> tuple[Any, Any]:
        """Take a request, but only when there are descriptors for its child's report, too.

        For want of them nothing is accepted, and the client waits in the backlog instead of being lost.
        """
        self.open_report()
        return super().get_request()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Fork: the parent goes on to the next request, the child runs this one and exits."""
        generation = fork_counter.generation
        try:
            if not self.fork_request(request):
                return
            self.finish_request(request, client_address)
        except BaseException as error:
            if fork_counter.generation == generation:
                raise  # the parent: it could not fork
            self.exit_child(request, client_address, error)
        self.exit_child(request, client_address)
