"""Trial: the servers of one case, the objects that their handlers share, and the checks at the end."""

from __future__ import annotations

from plugport import RequestContext, hookimpl
from plugport_testing.conformance.jobs import Gate, Progress
from plugport_testing.leaks import LeakCheck
from plugport_testing.served import ServedService
from plugport_testing.waiting import wait_until

__all__ = ["Trial"]


class _Verifier:
    """A plugin whose verify hook returns ``verdict``."""

    verdict: bool | str = True

    @hookimpl
    def plugport_verify_request(self) -> bool | str:
        return self.verdict


class Trial(ServedService):
    """A service of one or more servers of one class; stop() also checks for leaks.

    ``progress`` and ``gate`` are for handlers; ``verifier.verdict`` is the result of the verify hook.
    """

    def __init__(self, patience: float) -> None:
        self.verifier = _Verifier()
        super().__init__(patience, [self.verifier])
        self._leak_check = LeakCheck(self.folder)
        self.progress = Progress()
        self.gate = Gate()
        self.resources.callback(self.gate.close)

    def hook_names(self, prefix: str = "") -> list[str]:
        """Return the names of the hooks called, in order, that begin with *prefix*."""
        return [name for name, _ in tuple(self.events) if name.startswith(prefix)]

    def contexts(self, hook: str) -> list[RequestContext]:
        """Return the request records that *hook* was called with, in order."""
        return [arguments["context"] for name, arguments in tuple(self.events) if name == hook]

    def outcomes(self, count: int = 1) -> list[str | None]:
        """Wait until *count* requests have finished; return the outcomes of all that have."""
        wait_until(
            lambda: len(self.contexts("request_finished")) >= count,
            self.patience,
            f"{count} x request_finished (there is {self.hook_names('request_')})",
        )
        return [context.outcome for context in self.contexts("request_finished")]

    def drain(self, timeout: float) -> None:
        """Drain all servers; they abort after *timeout* seconds what is still active."""
        for server in self.servers:
            server.drain(timeout)

    def stop(self) -> None:
        """Stop the service; AssertionError also if a request, thread, descriptor or child is left."""
        super().stop()
        self._leak_check.assert_unchanged(self.patience / 2)

    def check(self) -> None:
        """Check that every request that started has finished exactly once, and no other has."""
        super().check()
        started = sorted(context.id for context in self.contexts("request_started"))
        finished = self.contexts("request_finished")
        assert sorted(context.id for context in finished) == started, "each request must finish exactly once"
        for context in finished:
            assert context.outcome in ("completed", "failed", "timed-out", "aborted"), context
            assert context.duration is not None, context
