"""PreludeCases: servers that must see something of a connection before its request begins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from plugport.errors import PreludeError
from plugport.serving import Prelude, Steps, peek
from plugport_testing.conformance.base import case
from plugport_testing.conformance.clients import Client
from plugport_testing.conformance.styled import StyledConformance
from plugport_testing.conformance.trial import Trial

__all__ = ["PreludeCases"]


def _name(request: Any, client_address: Any) -> Steps:
    """A byte that is the length of what follows: the client's name. It stays until it is whole."""
    size = 1 + (yield from peek(request, 1))[0]
    name = (yield from peek(request, size))[1:]
    request.recv(size)
    if name == b"mallory":
        raise PreludeError("nobody likes mallory")
    return name.decode()


def _title(request: Any, client_address: Any) -> Steps:
    """What goes before the name, up to a space: taken as it comes."""
    title = b""
    while not title.endswith(b" "):
        try:
            byte = request.recv(1)
        except BlockingIOError:
            yield 1
            continue
        if not byte:
            raise PreludeError("it has ended")
        title += byte
    assert isinstance(client_address, str)  # _name's
    return title.decode() + client_address


class _WithPreludes:
    """A server before whose requests the client says who it is."""

    def preludes(self) -> Sequence[Prelude]:
        return (*super().preludes(), _name, _title)  # type: ignore[misc]


#: A client's preludes, and the address that they make.
_PRELUDE, _ADDRESS = b"\x05alicemiss ", "miss alice"


class PreludeCases(StyledConformance):
    """What must be seen of a connection is seen while it holds up nobody, and by no handler."""

    #: Connections that say nothing, or half of what they must.
    silent_count: ClassVar[int] = 20

    @contextlib.contextmanager
    def serving_pending(self, style: str, **members: Any) -> Iterator[Trial]:
        """Do as serving() does, with servers that have preludes."""
        plain = self._server_class
        try:
            type(self)._server_class = type(plain.__name__, (_WithPreludes, plain), {})
            with self.serving(style, **members) as trial:
                yield trial
        finally:
            type(self)._server_class = plain

    def client_with_prelude(self, trial: Trial, prelude: bytes = _PRELUDE) -> Client:
        """Connect, and say who it is."""
        sock = self.dial(trial.server)
        sock.sendall(prelude)
        return Client(self.secure(sock))

    @contextlib.contextmanager
    def _silent_clients(self, trial: Trial) -> Iterator[list[Client]]:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(self.dial(trial.server))) for _ in range(self.silent_count)]
            for count, client in enumerate(clients):
                with contextlib.suppress(ConnectionError):  # it was turned away already
                    client.send(_PRELUDE[: count % len(_PRELUDE)])
            yield clients

    def _rejected(self, trial: Trial, count: int, reason: str) -> int:
        """Wait until so many were turned away, for that reason all; return how many it were."""

        def rejections() -> list[dict[str, Any]]:
            return [told for name, told in tuple(trial.events) if name == "request_rejected"]

        self.wait_until(lambda: len(rejections()) >= count, f"{count} x request_rejected")
        assert [told for told in rejections() if reason not in told["reason"]] == []
        return len(rejections())

    def test_prelude(self, style: str) -> None:
        """Handler and hooks see the address that the preludes found; what follows them is the handler's."""
        with self.serving_pending(style) as trial:
            with self.client_with_prelude(trial) as client:
                assert client.ask(b"!address") == b"%r" % _ADDRESS
            with Client(self.dial(trial.server)) as slow:
                for byte in _PRELUDE:
                    slow.send(bytes([byte]))
                slow.sock = self.secure(slow.sock)
                assert slow.ask(b"hello") == b"hello"
            assert trial.outcomes(2) == ["completed"] * 2
            contexts = trial.contexts("request_started")
            assert [context.client_address for context in contexts] == [_ADDRESS] * 2
            verified = [told["client_address"] for name, told in trial.events if name == "verify_request"]
            assert verified == [_ADDRESS] * 2

    def test_silent_clients_delay_no_other(self, style: str) -> None:
        """Who has not said all that must be seen keeps neither a place nor a worker, and no one waiting."""
        limit = {} if self.is_serial else {"max_active_requests": 1}
        with self.serving_pending(style, **limit) as trial, self._silent_clients(trial):
            for _ in range(3):
                with self.client_with_prelude(trial) as client:
                    assert client.ask(b"hello") == b"hello"
            assert trial.outcomes(3) == ["completed"] * 3
            assert len(trial.contexts("request_started")) == 3
            assert "request_rejected" not in trial.hook_names()
            trial.drain(0.0)
            trial.join()

    def test_too_many_silent_clients(self, style: str) -> None:
        """Beyond ``max_preludes`` the one that has waited longest goes, not the one that speaks."""
        with (
            self.serving_pending(style, max_preludes=self.silent_count // 2) as trial,
            self._silent_clients(trial) as clients,
        ):
            with self.client_with_prelude(trial) as client:
                assert client.ask(b"hello") == b"hello"
            count = self.silent_count - self.silent_count // 2
            # One more may have had to go until the one that speaks had spoken.
            assert count <= self._rejected(trial, count, "max_preludes") <= count + 1
            for gone in clients[:count]:
                assert gone.has_ended()
            trial.drain(0.0)
            trial.join()

    def test_prelude_timeout(self, style: str) -> None:
        """Who has not said it within ``prelude_timeout`` is turned away."""
        with (
            self.serving_pending(style, prelude_timeout=0.1) as trial,
            self._silent_clients(trial) as clients,
        ):
            for client in clients:
                assert client.has_ended()
            assert self._rejected(trial, self.silent_count, "prelude_timeout") == self.silent_count
            assert "request_started" not in trial.hook_names()

    def test_bad_prelude(self, style: str) -> None:
        """Who says what must not be, or goes away, is turned away with the reason; no request begins."""
        with self.serving_pending(style) as trial:
            with Client(self.dial(trial.server)) as bad:
                bad.send(b"\x07mallory")
                assert bad.has_ended()
            assert self._rejected(trial, 1, "nobody likes mallory") == 1
            with Client(self.dial(trial.server)) as gone:
                gone.write_eof()
                assert gone.has_ended()
            self.wait_until(lambda: trial.hook_names("request_") == ["request_rejected"] * 2, "the second")
            with self.client_with_prelude(trial) as client:
                assert client.ask(b"hello") == b"hello"

    @case(concurrent=True)
    def test_prelude_waits_for_room(self, style: str) -> None:
        """Whose preludes are complete when there is no room waits for it, and is not turned away."""
        with self.serving_pending(style, max_active_requests=1) as trial:
            with Client(self.dial(trial.server)) as second, self.client_with_prelude(trial) as first:
                assert first.ask(b"hello") == b"hello"
                second.send(_PRELUDE)
                second.sock.settimeout(0.03)
                with contextlib.suppress(TimeoutError):
                    raise AssertionError(f"a second one is not made to wait: {second.sock.recv(1)!r}")
                second.sock.settimeout(self.patience)
                assert len(trial.contexts("request_started")) == 1
                first.close()
                second.sock = self.secure(second.sock)
                assert second.ask(b"hello") == b"hello"
            assert trial.outcomes(2) == ["completed"] * 2
            assert "request_rejected" not in trial.hook_names()

    def test_drain_waits_for_preludes(self, style: str) -> None:
        """Who is at its preludes when a server drains may go on until the deadline, and is cut then."""
        with self.serving_pending(style) as trial:
            with Client(self.dial(trial.server)) as slow, Client(self.dial(trial.server)) as silent:
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
