"""DatagramConformance: the cases of datagrams."""

from __future__ import annotations

import contextlib
import itertools
from typing import ClassVar

from plugport.contracts import Handler
from plugport.handlers import Style
from plugport_testing.clients import ClientSocket, dial
from plugport_testing.conformance.jobs import datagram_handler
from plugport_testing.conformance.styled import StyledConformance
from plugport_testing.conformance.trial import Trial

__all__ = ["DatagramConformance"]


class DatagramConformance(StyledConformance):
    """The cases of datagrams. See StyledConformance for the attributes of a subclass."""

    server: ClassVar[str | type] = "udp"

    @classmethod
    def handler(cls, style: Style, **attributes: object) -> Handler:
        """Return the handler of datagrams in that style; it has no use for attributes."""
        return datagram_handler(style)

    def peer(self, trial: Trial, index: int = 0) -> ClientSocket:
        """Return a socket that exchanges datagrams with a server of the trial."""
        return dial(trial.servers[index], self.patience, trial.folder)

    def test_echo(self, style: Style) -> None:
        """A datagram gets a reply, also if it is empty or large; or none if the handler returns none."""
        with self.serving(style) as trial, self.peer(trial) as peer:
            for message in (b"hello", b"", b"x" * 9000):
                peer.send(message)
                assert peer.recv(65536) == message
            peer.send(b"+no reply")
            assert trial.outcomes(4) == ["completed"] * 4
            received = [context.bytes_received or 0 for context in trial.contexts("request_finished")]
            assert sorted(received) == [0, 5, 9, 9000]

    def test_error(self, style: Style) -> None:
        """A handler that fails on one datagram affects no other datagram."""
        with self.serving(style) as trial, self.peer(trial) as peer, self.peer(trial) as other:
            for _ in range(2):
                peer.send(b"!raise")
                other.send(b"hello")
                assert other.recv(100) == b"hello"
            assert sorted(map(str, trial.outcomes(4))) == ["completed"] * 2 + ["failed"] * 2
            assert trial.hook_names("request_").count("request_failed") == 2

    def test_burst(self, style: Style) -> None:
        """In a burst from several clients, each client gets the replies to its own datagrams."""
        with self.serving(style) as trial, contextlib.ExitStack() as stack:
            peers = [stack.enter_context(self.peer(trial)) for _ in range(4)]
            for round_ in range(10):
                # Few enough for the socket's buffer: the system drops what exceeds it.
                for number, peer in itertools.product((0, 1), peers):
                    peer.send(b"%d %d %d" % (round_, number, peer.fileno()))
                for peer in peers:
                    replies = {peer.recv(100) for _ in (0, 1)}
                    assert replies == {b"%d %d %d" % (round_, number, peer.fileno()) for number in (0, 1)}
            assert trial.outcomes(80) == ["completed"] * 80

    def test_unreachable_client(self, style: Style) -> None:
        """A reply that can't be delivered affects no other datagram."""
        with self.serving(style, start=False) as trial:
            with self.peer(trial) as closed:
                closed.send(b"hello")
            trial.start()
            trial.outcomes(1)
            with self.peer(trial) as peer:
                for _ in range(3):
                    peer.send(b"hello")
                    assert peer.recv(100) == b"hello"
            trial.outcomes(4)

    def test_hooks(self, style: Style) -> None:
        """A completed, a failed and a rejected datagram call the same hooks in the same order everywhere."""
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

    def test_drain_answers_waiting_datagrams(self, style: Style) -> None:
        """Datagrams that arrived before the drain get their replies."""
        with self.serving(style, start=False) as trial, self.peer(trial) as peer:
            for number in range(5):
                peer.send(b"%d" % number)
            trial.drain(self.patience)
            trial.start()
            assert sorted(peer.recv(100) for _ in range(5)) == [b"%d" % number for number in range(5)]
            trial.join()

    def test_listeners(self, style: Style) -> None:
        """Several servers are served together, and stop together."""
        with self.serving(style, listeners=3) as trial:
            for index in (2, 0, 1):
                with self.peer(trial, index) as peer:
                    peer.send(b"hello")
                    assert peer.recv(100) == b"hello"
            trial.drain(self.patience)
            trial.join()
