"""StreamConformance: all cases of connections, and those of handlers that fail."""

from __future__ import annotations

from plugport.handlers import Style
from plugport_testing.conformance.base import Needs
from plugport_testing.conformance.jobs import stream_handler
from plugport_testing.conformance.life import LifeCases
from plugport_testing.conformance.prelude_cases import PreludeCases
from plugport_testing.conformance.traffic import TrafficCases
from plugport_testing.conformance.trial import Trial

__all__ = ["StreamConformance"]


class StreamConformance(TrafficCases, LifeCases, PreludeCases):
    """The cases of connections. See StyledConformance for the attributes of a subclass."""

    @classmethod
    def handler(cls, style: Style, **attributes: object) -> type:
        """Return the handler of connections in that style, with these class attributes."""
        return stream_handler(style, **attributes)

    def test_error_at_the_beginning(self, style: Style) -> None:
        """An error in connection_made() or setup() ends the request as failed."""
        with self.serving(style, fails_in="begin") as trial:
            for _ in range(2):
                with self.client(trial) as client:
                    assert client.has_ended()
            self._assert_failures(trial, 2, "at the beginning")

    def test_error_on_data(self, style: Style) -> None:
        """An error on the client's data ends the request; the client gets the replies before it."""
        with self.serving(style) as trial:
            for _ in range(2):
                with self.client(trial) as client:
                    client.send(b"hello\n!raise\n")
                    assert client.read_all() == b"hello\n"
            self._assert_failures(trial, 2, "on request")

    def test_error_after_a_wait(self, style: Style) -> None:
        """An error of a handler that had waited for the client to read ends the request as failed."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.send(b"!send 2000000\n" * 10 + b"!raise\n")
                client.read_all()
            self._assert_failures(trial, 1, "on request")

    def test_error_at_the_end_of_input(self, style: Style) -> None:
        """An error in eof_received(), or at the client's end of input, ends the request as failed."""
        with self.serving(style) as trial:
            for _ in range(2):
                with self.client(trial) as client:
                    assert client.ask(b"hello") == b"hello"
                    client.send(b"!raise")
                    client.write_eof()
                    assert client.read_all() == b""
            self._assert_failures(trial, 2, "on request")

    @Needs(styles=("blocking", "protocol", "async"))
    def test_error_at_the_end(self, style: Style) -> None:
        """An error in connection_lost() or finish() makes the request a failed one."""
        with self.serving(style, fails_in="end") as trial:
            for _ in range(2):
                with self.client(trial) as client:
                    assert client.ask(b"hello") == b"hello"
                    client.write_eof()
                    assert client.read_all() == b""
            self._assert_failures(trial, 2, "at the end")

    @Needs(concurrent=True)
    def test_error_affects_no_other_client(self, style: Style) -> None:
        """Other clients are served while a handler fails, and after that."""
        with self.serving(style) as trial, self.client(trial) as other:
            assert other.ask(b"before") == b"before"
            with self.client(trial) as client:
                client.send(b"!raise\n")
                assert client.has_ended()
            assert other.ask(b"after") == b"after"

    @Needs(isolated=True)
    def test_blocking_handler_delays_no_other(self, style: Style) -> None:
        """A handler that blocks delays no other client, if the strategy gives it a thread or process.

        In an event loop, and under a serial strategy, it delays all others by contract: there is no case.
        """
        with self.serving(style) as trial:
            with self.client(trial) as blocked, self.client(trial) as disconnected:
                for client in (blocked, disconnected):
                    client.send(b"!block\n")
                with self.client(trial) as other:
                    assert other.ask(b"hello") == b"hello"
                disconnected.close()
                trial.gate.open(2)
                assert blocked.read_line() == b"unblocked"
            trial.outcomes(3)

    def _assert_failures(self, trial: Trial, count: int, message: str) -> None:
        assert trial.outcomes(count) == ["failed"] * count
        assert trial.hook_names("request_").count("request_failed") == count
        for context in trial.contexts("request_finished"):
            assert message in str(context.error)
