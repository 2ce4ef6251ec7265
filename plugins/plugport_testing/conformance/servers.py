"""ServerConformance: all cases of a server, and those of the requests that it serves under strategies."""

from __future__ import annotations

import contextlib

from plugport import BaseServer
from plugport.contracts import ClientAddress, Request
from plugport_testing.conformance.addresses import AddressCases
from plugport_testing.conformance.base import Needs
from plugport_testing.conformance.clients import send_and_close
from plugport_testing.conformance.template_methods import TemplateMethodCases
from plugport_testing.conformance.trial import Trial

__all__ = ["ServerConformance"]


def _reject(server: BaseServer, request: Request, client_address: ClientAddress) -> bool:
    """Reject the request; in place of verify_request()."""
    return False


class ServerConformance(AddressCases, TemplateMethodCases):
    """The cases that every server must pass::

        class TestFair(ServerConformance):
            server = "fair"

    ``url`` is where it listens, if neither ``fair://127.0.0.1:0`` nor, for AF_UNIX, the path of a socket
    file is suitable. See ServerCases for the other attributes.
    """

    def test_serves(self, strategy: str) -> None:
        """Clients that connect one after the other get replies, and the hooks are called for them."""
        with self.serving(strategy) as trial:
            for _ in range(3):
                self.assert_replies(trial)
            assert trial.outcomes(3) == ["completed"] * 3
            assert trial.hook_names("server_") == ["server_bound", "server_started"]
            for context in trial.contexts("request_finished"):
                assert context.server is trial.server

    @Needs(transport="stream", concurrent=True)
    def test_serves_several_at_once(self, strategy: str) -> None:
        """Clients that are connected at the same time get replies."""
        with self.serving(strategy) as trial, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.client(trial)) for _ in range(5)]
            for client in clients + clients[::-1]:
                assert client.ask(b"hello") == b"hello"

    def test_failed_request(self, strategy: str) -> None:
        """A failed request is reported and its connection closed; the next client is served."""
        with self.serving(strategy) as trial:
            with self.client(trial) as client:
                client.sock.send(b"!raise\n" if self.is_stream() else b"!raise")
                if self.is_stream():
                    assert client.has_ended()
                trial.wait_for_event("request_failed")
            self.assert_replies(trial)
            assert sorted(map(str, trial.outcomes(2))) == ["completed", "failed"]

    @Needs(transport="stream")
    def test_client_reset_before_accept(self, strategy: str) -> None:
        """A connection that is reset before it is accepted affects no other client."""
        with self.binding(strategy) as trial:
            send_and_close(trial.server, b"", reset=True, wait=False)
            trial.start()
            self.assert_replies(trial)

    # Rejected requests ----------------------------------------------------------------------------

    def test_verify_request(self, strategy: str) -> None:
        """A client that the server's own verify_request() rejects gets no reply and is disconnected."""
        with self.serving(strategy, verify_request=_reject) as trial:
            self._assert_rejected(trial)

    def test_verify_request_hook(self, strategy: str) -> None:
        """A client that a hook rejects is disconnected without a reply; the next client is served."""
        with self.serving(strategy) as trial:
            trial.verifier.verdict = "rejected by the test"
            self._assert_rejected(trial)
            reason = trial.wait_for_event("request_rejected")["reason"]
            assert reason == "rejected by the test", f"the reason of the hook became {reason!r}"
            trial.verifier.verdict = True
            self.assert_replies(trial)

    @Needs(transport="stream", concurrent=True)
    def test_max_active_requests(self, strategy: str) -> None:
        """When ``max_active_requests`` requests are active, the next one waits and is not rejected."""
        with self.serving(strategy, max_active_requests=1) as trial:
            with self.client(trial) as first, self.client(trial) as second:
                assert first.ask(b"hello") == b"hello"
                second.send(b"hello\n")
                second.sock.settimeout(0.03)
                with contextlib.suppress(TimeoutError):
                    raise AssertionError(f"a second request does not wait: it gets {second.read_line()!r}")
                second.sock.settimeout(self.patience)
                first.close()
                assert second.read_line() == b"hello"
            assert "request_rejected" not in trial.hook_names()

    @Needs(transport="datagram", option="max_packet_size")
    def test_max_packet_size(self, strategy: str) -> None:
        """A datagram longer than ``max_packet_size`` is rejected, not truncated."""
        with self.serving(strategy, max_packet_size=100) as trial, self.client(trial) as client:
            client.sock.send(b"x" * 100)
            assert client.sock.recv(200) == b"x" * 100
            client.sock.send(b"x" * 101)
            trial.wait_for_event("request_rejected")
            client.sock.send(b"short")
            assert client.sock.recv(200) == b"short"

    # The end --------------------------------------------------------------------------------------

    @Needs(transport="stream", concurrent=True)
    def test_drain(self, strategy: str) -> None:
        """A server that drains accepts no connection, and its active requests go on to their end."""
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
        """Requests that arrived before the drain get replies."""
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
            with contextlib.suppress(ConnectionError):  # the server may have disconnected already
                client.sock.send(b"hello\n")
            if self.is_stream():
                assert client.has_ended(), "a rejected client gets a reply"
            trial.wait_for_event("request_rejected")
            assert "request_started" not in trial.hook_names(), "a rejected request begins"
            if not self.is_stream():
                client.sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    raise AssertionError(f"a rejected client gets {client.sock.recv(100)!r}")
