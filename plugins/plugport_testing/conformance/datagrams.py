"""DatagramConformance: the cases of datagrams."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any, ClassVar

from plugport_testing.clients import ClientSocket, dial
from plugport_testing.conformance.jobs import datagram_handler
from plugport_testing.conformance.styled import StyledConformance
from plugport_testing.conformance.trial import Trial

__all__ = ["DatagramConformance"]


class DatagramConformance(StyledConformance):
    """The cases of datagrams. See StyledConformance for what a subclass sets."""

    server: ClassVar[Any] = "udp"

    @classmethod
    def handler(cls, style: str, **members: Any) -> Any:
        """Return the handler of datagrams in that style."""
        return datagram_handler(style)

    def peer(self, trial: Trial, index: int = 0) -> ClientSocket:
        """Return a socket that exchanges datagrams with a server of the trial."""
        return dial(trial.servers[index], self.patience, trial.folder)

    def test_echo(self, style: str) -> None:
        """A datagram is answered, an empty one and a large one too; or it is not, as the handler likes."""
        with self.serving(style) as trial, self.peer(trial) as peer:
            for message in (b"hello", b"", b"x" * 9000):
                peer.send(message)
                assert peer.recv(65536) == message
            peer.send(b"+no answer")
            assert trial.outcomes(4) == ["completed"] * 4
            received = [context.bytes_received or 0 for context in trial.contexts("request_finished")]
            assert sorted(received) == [0, 5, 10, 9000]

    def test_error(self, style: str) -> None:
        """A handler that fails on a datagram harms no other datagram."""
        with self.serving(style) as trial, self.peer(trial) as peer, self.peer(trial) as other:
            for _ in range(2):
                peer.send(b"!raise")
                other.send(b"hello")
                assert other.recv(100) == b"hello"
            assert sorted(map(str, trial.outcomes(4))) == ["completed"] * 2 + ["failed"] * 2
            assert trial.hook_names("request_").count("request_failed") == 2

    def test_burst(self, style: str) -> None:
        """Many datagrams in a row, from several clients, are each answered to who sent it."""
        with self.serving(style) as trial, contextlib.ExitStack() as stack:
            peers = [stack.enter_context(self.peer(trial)) for _ in range(4)]
            for round_ in range(10):
                # Few enough for the queues of the system, which drops what is too much.
                for number, peer in itertools.product((0, 1), peers):
                    peer.send(b"%d %d %d" % (round_, number, peer.fileno()))
                for peer in peers:
                    answers = {peer.recv(100) for _ in (0, 1)}
                    assert answers == {b"%d %d %d" % (round_, number, peer.fileno()) for number in (0, 1)}
            assert trial.outcomes(80) == ["completed"] * 80

    def test_unreachable_client(self, style: str) -> None:
        """An answer that can't be delivered harms no other datagram."""
        with self.serving(style, start=False) as trial:
            with self.peer(trial) as gone:
                gone.send(b"hello")
            trial.start()
            trial.outcomes(1)
            with self.peer(trial) as peer:
                for _ in range(3):
                    peer.send(b"hello")
                    assert peer.recv(100) == b"hello"
            trial.outcomes(4)

    def test_hooks(self, style: str) -> None:
        """The same story is told by the same hooks, in the same order."""
        with self.serving(style) as trial, self.peer(trial) as peer:
            peer.send(b"hello")
            assert peer.recv(100) == b"hello"
            trial.outcomes()
            peer.send(b"!raise")
            assert trial.outcomes(2) == ["completed", "failed"]
            trial.verifier.verdict = False
            peer.send(b"hello")
            self.wait_until(lambda: "request_rejected" in trial.hook_names(), "request_rejected")
            trial.drain(self.patience)
            trial.join()
            assert [name for name in trial.hook_names() if not name.startswith("child_")] == [
                "server_bound",
                "server_started",
                *("verify_request", "request_started", "request_finished"),
                *("verify_request", "request_started", "request_failed", "request_finished"),
                *("verify_request", "request_rejected"),
                "server_draining",
                "server_stopped",
            ]

    def test_drain_answers_waiting_datagrams(self, style: str) -> None:
        """The datagrams that wait when a server drains are answered."""
        with self.serving(style, start=False) as trial, self.peer(trial) as peer:
            for number in range(5):
                peer.send(b"%d" % number)
            trial.drain(self.patience)
            trial.start()
            assert sorted(peer.recv(100) for _ in range(5)) == [b"%d" % number for number in range(5)]
            trial.join()

    def test_listeners(self, style: str) -> None:
        """Several servers are served together, and stop together."""
        with self.serving(style, listeners=3) as trial:
            for index in (2, 0, 1):
                with self.peer(trial, index) as peer:
                    peer.send(b"hello")
                    assert peer.recv(100) == b"hello"
            trial.drain(self.patience)
            trial.join()
