"""PreludeCases: cases of servers with preludes, which read from a connection before its request begins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar

from plugport import BaseServer
from plugport.contracts import ClientAddress, StreamRequest, configure
from plugport.errors import PreludeError
from plugport.handlers import Style
from plugport.serving import Prelude, Steps, peek
from plugport_testing.conformance.base import Needs
from plugport_testing.conformance.clients import Client
from plugport_testing.conformance.styled import StyledConformance
from plugport_testing.conformance.trial import Trial

__all__ = ["PreludeCases"]


def _name(request: StreamRequest, client_address: ClientAddress) -> Steps:
    """Read a byte with the length of the client's name, then the name; consume both when complete."""
    size = 1 + (yield from peek(request, 1))[0]
    name = (yield from peek(request, size))[1:]
    request.recv(size)
    if name == b"mallory":
        raise PreludeError("mallory is not allowed")
    return name.decode()


def _title(request: StreamRequest, client_address: ClientAddress) -> Steps:
    """Read a title up to a space, byte by byte, and put it before the name."""
    title = b""
    while not title.endswith(b" "):
        try:
            byte = request.recv(1)
        except BlockingIOError:
            yield 1
            continue
        if not byte:
            raise PreludeError("the client closed the connection in its title")
        title += byte
    assert isinstance(client_address, str)  # from _name
    return title.decode() + client_address


#: A client's preludes, and the client address that they produce.
_PRELUDE, _ADDRESS = b"\x05alicemiss ", "miss alice"


class PreludeCases(StyledConformance):
    """Preludes are read before a request begins; a client that does not send them delays no other."""

    #: Clients that send nothing, or a part of their preludes.
    silent_count: ClassVar[int] = 20

    def serving_with_preludes(self, style: Style, **options: object) -> AbstractContextManager[Trial]:
        """Serve as serving() does, by a server that reads _name and _title."""
        plain = self._server_class

        def preludes(server: BaseServer) -> Sequence[Prelude]:
            return (*plain.preludes(server), _name, _title)

        server_class = type(plain.__name__, (plain,), {"preludes": preludes})
        return self.serving_class(configure(server_class, options), style)

    def client_with_prelude(self, trial: Trial, prelude: bytes = _PRELUDE) -> Client:
        """Connect, and send the preludes."""
        sock = self.dial(trial.servers[0])
        sock.sendall(prelude)
        return Client(self.secure(sock))

    def _new_client(self, trial: Trial) -> Client:
        """Connect, and send nothing."""
        return Client(self.dial(trial.servers[0]))

    @contextlib.contextmanager
    def _silent_clients(self, trial: Trial) -> Iterator[list[Client]]:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self._new_client(trial)) for _ in range(self.silent_count)]
            for count, client in enumerate(clients):
                with contextlib.suppress(ConnectionError):  # it is rejected already
                    client.send(_PRELUDE[: count % len(_PRELUDE)])
            yield clients

    def _rejected(self, trial: Trial, count: int, reason: str) -> int:
        """Wait for *count* rejections; assert that all have that reason, and return their number."""

        def reasons() -> list[str]:
            return [call["reason"] for name, call in tuple(trial.events) if name == "request_rejected"]

        self.wait_until(lambda: len(reasons()) >= count, f"{count} x request_rejected")
        assert [each for each in reasons() if reason not in each] == []
        return len(reasons())

    def test_prelude(self, style: Style) -> None:
        """Handler and hooks get the address from the preludes; the handler reads what follows them."""
        with self.serving_with_preludes(style) as trial:
            with self.client_with_prelude(trial) as client:
                assert client.ask(b"!address") == b"%r" % _ADDRESS
            with self._new_client(trial) as slow:
                for byte in _PRELUDE:
                    slow.send(bytes([byte]))
                slow.sock = self.secure(slow.sock)
                assert slow.ask(b"hello") == b"hello"
            assert trial.outcomes(2) == ["completed"] * 2
            contexts = trial.contexts("request_started")
            assert [context.client_address for context in contexts] == [_ADDRESS] * 2
            verified = [call["client_address"] for name, call in trial.events if name == "verify_request"]
            assert verified == [_ADDRESS] * 2

    def test_silent_clients_delay_no_other(self, style: Style) -> None:
        """A client that has not sent its preludes takes no worker and no place, and delays no other."""
        limit = {} if self.is_serial else {"max_active_requests": 1}
        with self.serving_with_preludes(style, **limit) as trial, self._silent_clients(trial):
            for _ in range(3):
                with self.client_with_prelude(trial) as client:
                    assert client.ask(b"hello") == b"hello"
            assert trial.outcomes(3) == ["completed"] * 3
            assert len(trial.contexts("request_started")) == 3
            assert "request_rejected" not in trial.hook_names()
            trial.drain(0.0)
            trial.join()

    def test_too_many_silent_clients(self, style: Style) -> None:
        """Beyond ``max_preludes`` the oldest pending connection is rejected, not the one that sends."""
        with (
            self.serving_with_preludes(style, max_preludes=self.silent_count // 2) as trial,
            self._silent_clients(trial) as clients,
        ):
            with self.client_with_prelude(trial) as client:
                assert client.ask(b"hello") == b"hello"
            count = self.silent_count - self.silent_count // 2
            # One more may have been rejected before the preludes of the other client had arrived.
            assert count <= self._rejected(trial, count, "max_preludes") <= count + 1
            for rejected in clients[:count]:
                assert rejected.has_ended()
            trial.drain(0.0)
            trial.join()

    def test_prelude_timeout(self, style: Style) -> None:
        """A client that has not sent its preludes within ``prelude_timeout`` is rejected."""
        with (
            self.serving_with_preludes(style, prelude_timeout=0.1) as trial,
            self._silent_clients(trial) as clients,
        ):
            for client in clients:
                assert client.has_ended()
            assert self._rejected(trial, self.silent_count, "prelude_timeout") == self.silent_count
            assert "request_started" not in trial.hook_names()

    def test_bad_prelude(self, style: Style) -> None:
        """A client that sends an invalid prelude, or disconnects, is rejected with the reason."""
        with self.serving_with_preludes(style) as trial:
            with self._new_client(trial) as bad:
                bad.send(b"\x07mallory")
                assert bad.has_ended()
            assert self._rejected(trial, 1, "mallory is not allowed") == 1
            with self._new_client(trial) as disconnected:
                disconnected.write_eof()
                assert disconnected.has_ended()
            self.wait_until(
                lambda: trial.hook_names("request_") == ["request_rejected"] * 2, "the second rejection"
            )
            with self.client_with_prelude(trial) as client:
                assert client.ask(b"hello") == b"hello"

    @Needs(concurrent=True)
    def test_prelude_waits_for_room(self, style: Style) -> None:
        """A client whose preludes are complete waits while ``max_active_requests`` are active."""
        with self.serving_with_preludes(style, max_active_requests=1) as trial:
            with self._new_client(trial) as second, self.client_with_prelude(trial) as first:
                assert first.ask(b"hello") == b"hello"
                second.send(_PRELUDE)
                second.sock.settimeout(0.03)
                with contextlib.suppress(TimeoutError):
                    raise AssertionError(f"a second request does not wait: it gets {second.sock.recv(1)!r}")
                second.sock.settimeout(self.patience)
                assert len(trial.contexts("request_started")) == 1
                first.close()
                second.sock = self.secure(second.sock)
                assert second.ask(b"hello") == b"hello"
            assert trial.outcomes(2) == ["completed"] * 2
            assert "request_rejected" not in trial.hook_names()

    def test_drain_waits_for_preludes(self, style: Style) -> None:
        """A pending connection may complete its preludes during a drain; at the deadline it is rejected."""
        with self.serving_with_preludes(style) as trial:
            with self._new_client(trial) as slow, self._new_client(trial) as silent:
                slow.send(_PRELUDE[:4])
                self.wait_until(lambda: len(trial.server.intake.pending) == 2, "both to be accepted")
                trial.drain(self.patience)
                self.wait_until(lambda: trial.server.fileno() < 0, "the end of listening")
                slow.send(_PRELUDE[4:])
                slow.sock = self.secure(slow.sock)
                assert slow.ask(b"hello") == b"hello"
                slow.close()
                trial.outcomes()
                assert trial.is_serving()
                trial.drain(0.0)
                assert silent.has_ended()
                trial.join()
            assert trial.outcomes() == ["completed"]
            assert self._rejected(trial, 1, "the service has ended") == 1
