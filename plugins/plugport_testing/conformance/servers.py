"""ServerConformance: all cases of a server, those of requests that it serves under strategies among them."""

from __future__ import annotations

import contextlib

from plugport_testing.conformance.addresses import AddressCases
from plugport_testing.conformance.base import case
from plugport_testing.conformance.clients import send_and_close
from plugport_testing.conformance.template_methods import TemplateMethodCases
from plugport_testing.conformance.trial import Trial

__all__ = ["ServerConformance"]


class ServerConformance(AddressCases, TemplateMethodCases):
    """The cases that every server must hold::

        class TestFair(ServerConformance):
            server = "fair"

    ``url`` says where it listens, if ``fair://127.0.0.1:0``, or for an AF_UNIX family the path of a
    socket file, will not do. See ServerCases for what else can be set.
    """

    def test_serves(self, strategy: str) -> None:
        """Clients are answered one after the other, and told of by the hooks."""
        with self.serving(strategy) as trial:
            for _ in range(3):
                self.assert_answers(trial)
            assert trial.outcomes(3) == ["completed"] * 3
            assert trial.hook_names("server_") == ["server_bound", "server_started"]
            for context in trial.contexts("request_finished"):
                assert context.server is trial.server

    @case(transport="stream", concurrent=True)
    def test_serves_several_at_once(self, strategy: str) -> None:
        """Clients that are connected at the same time are served."""
        with self.serving(strategy) as trial, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.client(trial)) for _ in range(5)]
            for client in clients + clients[::-1]:
                assert client.ask(b"hello") == b"hello"

    def test_failed_request(self, strategy: str) -> None:
        """A handler that fails is told of, and its client is let go; the next one is served."""
        with self.serving(strategy) as trial:
            with self.client(trial) as client:
                client.sock.send(b"!raise\n" if self.is_stream() else b"!raise")
                if self.is_stream():
                    assert client.has_ended()
                trial.wait_for_event("request_failed")
            self.assert_answers(trial)
            assert sorted(map(str, trial.outcomes(2))) == ["completed", "failed"]

    @case(transport="stream")
    def test_client_reset_before_accept(self, strategy: str) -> None:
        """A client that has reset its connection before it was accepted harms no other."""
        with self.binding(strategy) as trial:
            send_and_close(trial.server, b"", reset=True, wait=False)
            trial.start()
            self.assert_answers(trial)

    # Refusals ---------------------------------------------------------------------------------------

    def test_verify_request(self, strategy: str) -> None:
        """Whom the server's own verify_request() turns away gets no answer, and is let go."""
        with self.serving(strategy, verify_request=lambda self, request, client_address: False) as trial:
            self._assert_rejected(trial)

    def test_verify_request_hook(self, strategy: str) -> None:
        """Whom a hook turns away, with a reason, gets no answer, and is let go; the next one is served."""
        with self.serving(strategy) as trial:
            trial.verifier.verdict = "by order of the test"
            self._assert_rejected(trial)
            reason = trial.wait_for_event("request_rejected")["reason"]
            assert reason == "by order of the test", f"the hook's reason has become {reason!r}"
            trial.verifier.verdict = True
            self.assert_answers(trial)

    @case(transport="stream", concurrent=True)
    def test_max_active_requests(self, strategy: str) -> None:
        """With the option ``max_active_requests`` who comes when so many are active waits."""
        with self.serving(strategy, max_active_requests=1) as trial:
            with self.client(trial) as first, self.client(trial) as second:
                assert first.ask(b"hello") == b"hello"
                second.send(b"hello\n")
                second.sock.settimeout(0.03)
                with contextlib.suppress(TimeoutError):
                    raise AssertionError(f"a second one is not made to wait: {second.read_line()!r}")
                second.sock.settimeout(self.patience)
                first.close()
                assert second.read_line() == b"hello"
            assert "request_rejected" not in trial.hook_names()

    @case(transport="datagram", member="max_packet_size")
    def test_max_packet_size(self, strategy: str) -> None:
        """With the option ``max_packet_size`` a longer datagram is turned away, and never cut."""
        with self.serving(strategy, max_packet_size=100) as trial, self.client(trial) as client:
            client.sock.send(b"x" * 100)
            assert client.sock.recv(200) == b"x" * 100
            client.sock.send(b"x" * 101)
            trial.wait_for_event("request_rejected")
            client.sock.send(b"short")
            assert client.sock.recv(200) == b"short"

    # The end ----------------------------------------------------------------------------------------

    @case(transport="stream", concurrent=True)
    def test_drain(self, strategy: str) -> None:
        """While it drains it takes no more, and who is being served is served to the end."""
        with self.serving(strategy) as trial:
            with self.client(trial) as client:
                assert client.ask(b"hello") == b"hello"
                trial.drain(self.patience)
                self.wait_until(lambda: trial.server.fileno() < 0, "the end of listening")
                self.assert_refused(trial)
                assert client.ask(b"still there?") == b"still there?"
            trial.join()
            assert trial.outcomes() == ["completed"]

    def test_drain_serves_the_backlog(self, strategy: str) -> None:
        """What has come before it drains is answered."""
        with self.binding(strategy) as trial, self.client(trial) as client:
            client.sock.send(b"hello\n")
            if self.is_stream():
                client.write_eof()
            trial.drain(self.patience)
            trial.start()
            assert client.sock.recv(100) == b"hello\n"
            trial.join()

    def _assert_rejected(self, trial: Trial) -> None:
        with self.client(trial) as client:
            with contextlib.suppress(ConnectionError):  # it may be over before a word was said
                client.sock.send(b"hello\n")
            if self.is_stream():
                assert client.has_ended(), "a client that is turned away gets an answer"
            trial.wait_for_event("request_rejected")
            assert "request_started" not in trial.hook_names(), "a request that is turned away begins"
            if not self.is_stream():
                client.sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    raise AssertionError(f"a client that is turned away is sent {client.sock.recv(100)!r}")
