"""StreamConformance: all cases of connections, those of faulty handlers among them."""

from __future__ import annotations

from typing import Any

from plugport_testing.conformance.base import case
from plugport_testing.conformance.jobs import stream_handler
from plugport_testing.conformance.life import LifeCases
from plugport_testing.conformance.prelude_cases import PreludeCases
from plugport_testing.conformance.traffic import TrafficCases

__all__ = ["StreamConformance"]


class StreamConformance(TrafficCases, LifeCases, PreludeCases):
    """The cases of connections. See StyledConformance for what a subclass sets."""

    @classmethod
    def handler(cls, style: str, **members: Any) -> Any:
        """Return the handler of connections in that style."""
        return stream_handler(style, **members)

    def test_error_at_the_beginning(self, style: str) -> None:
        """What fails before a word was said ends its request: connection_made(), setup()."""
        with self.serving(style, fails_in="begin") as trial:
            for _ in range(2):
                with self.client(trial) as client:
                    assert client.has_ended()
            self._assert_failures(trial, 2, "at the beginning")

    def test_error_on_data(self, style: str) -> None:
        """What fails on the client's data ends its request; answers before it are the client's."""
        with self.serving(style) as trial:
            for _ in range(2):
                with self.client(trial) as client:
                    client.send(b"hello\n!raise\n")
                    assert client.read_all() == b"hello\n"
            self._assert_failures(trial, 2, "by order")

    def test_error_after_a_wait(self, style: str) -> None:
        """The same when the handler fails as it goes on after the client has taken its answers."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.send(b"!send 2000000\n" * 10 + b"!raise\n")
                client.read_all()
            self._assert_failures(trial, 1, "by order")

    def test_error_at_the_end_of_input(self, style: str) -> None:
        """The same when the client's end of input makes it fail: eof_received()."""
        with self.serving(style) as trial:
            for _ in range(2):
                with self.client(trial) as client:
                    assert client.ask(b"hello") == b"hello"
                    client.send(b"!raise")
                    client.write_eof()
                    assert client.read_all() == b""
            self._assert_failures(trial, 2, "by order")

    @case(styles=("blocking", "protocol", "async"))
    def test_error_at_the_end(self, style: str) -> None:
        """What fails in the handler's clearing up is a failure, too: connection_lost(), finish()."""
        with self.serving(style, fails_in="end") as trial:
            for _ in range(2):
                with self.client(trial) as client:
                    assert client.ask(b"hello") == b"hello"
                    client.write_eof()
                    assert client.read_all() == b""
            self._assert_failures(trial, 2, "at the end")

    @case(concurrent=True)
    def test_error_affects_no_other_client(self, style: str) -> None:
        """Others are served while and after a handler fails."""
        with self.serving(style) as trial, self.client(trial) as other:
            assert other.ask(b"before") == b"before"
            with self.client(trial) as client:
                client.send(b"!raise\n")
                assert client.has_ended()
            assert other.ask(b"after") == b"after"

    @case(isolated=True)
    def test_blocking_handler_delays_no_other(self, style: str) -> None:
        """A handler that blocks holds up nobody, where the strategy gives it a thread or process.

        In an event loop, and where requests are served one by one, it holds up all others: that
        is the contract of the style there, and no case.
        """
        with self.serving(style) as trial:
            with self.client(trial) as blocked, self.client(trial) as gone:
                for client in (blocked, gone):
                    client.send(b"!block\n")
                with self.client(trial) as other:
                    assert other.ask(b"hello") == b"hello"
                gone.close()
                trial.gate.open(2)
                assert blocked.read_line() == b"unblocked"
            trial.outcomes(3)

    def _assert_failures(self, trial: Any, count: int, message: str) -> None:
        assert trial.outcomes(count) == ["failed"] * count
        assert trial.hook_names("request_").count("request_failed") == count
        for context in trial.contexts("request_finished"):
            assert message in str(context.error)
