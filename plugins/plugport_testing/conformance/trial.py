"""Trial: servers under test, with what their handlers share and what must be true of them at the end."""

from __future__ import annotations

from plugport import hookimpl
from plugport.contracts import RequestContext
from plugport_testing.conformance.jobs import Gate, Progress
from plugport_testing.leaks import LeakCheck
from plugport_testing.served import ServedService
from plugport_testing.waiting import wait_until

__all__ = ["Trial"]


class _Verifier:
    """A plugin that turns requests away, or does not."""

    verdict: bool | str = True

    @hookimpl
    def plugport_verify_request(self) -> bool | str:
        return self.verdict


class Trial(ServedService):
    """A service of one or more servers of one class; stop() finds what it leaves behind.

    ``progress`` and ``gate`` are for handlers; ``verifier.verdict`` is what the verify hook answers.
    """

    def __init__(self, patience: float) -> None:
        self.verifier = _Verifier()
        super().__init__(patience, [self.verifier])
        self._leak_check = LeakCheck(self.folder)
        self.progress = Progress()
        self.gate = Gate()
        self._resources.callback(self.gate.close)

    def hook_names(self, prefix: str = "") -> list[str]:
        """The names of the hooks called that begin so."""
        return [name for name, _ in tuple(self.events) if name.startswith(prefix)]

    def contexts(self, name: str) -> list[RequestContext]:
        """The requests with which the hook was called."""
        return [arguments["context"] for called, arguments in tuple(self.events) if called == name]

    def outcomes(self, count: int = 1) -> list[str | None]:
        """The outcomes of the requests, once *count* have finished."""
        wait_until(
            lambda: len(self.contexts("request_finished")) >= count,
            self.patience,
            f"{count} x request_finished (there is {self.hook_names('request_')})",
        )
        return [context.outcome for context in self.contexts("request_finished")]

    def drain(self, timeout: float) -> None:
        """Have the servers finish what they have, and stop."""
        for server in self.servers:
            server.drain(timeout)

    def stop(self) -> None:
        """End the service; AssertionError if a request or anything else is left behind, too."""
        super().stop()
        self._leak_check.assert_unchanged(self.patience / 2)

    def check(self) -> None:
        """See that every request that has started has finished, once, and no other."""
        super().check()
        started = sorted(context.id for context in self.contexts("request_started"))
        finished = self.contexts("request_finished")
        assert sorted(context.id for context in finished) == started, "each request finishes, and once"
        for context in finished:
            assert context.outcome in ("completed", "failed", "timed-out", "aborted"), context
            assert context.duration is not None, context
