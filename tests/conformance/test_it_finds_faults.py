"""Strategies with a fault each, to see that the conformance cases find it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from plugport.testing.conformance import StreamConformance
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer

#: What strategies have lost, to be closed after the test.
LOST: list[socket.socket] = []


@pytest.fixture(autouse=True)
def close_what_was_lost() -> Iterator[None]:
    yield
    while LOST:
        LOST.pop().close()


def fails(strategy: type, case: str, style: str = "blocking", **members: Any) -> str:
    """What a case says of a strategy: the message of the AssertionError, "" if it finds nothing."""
    members = {"server": TCPServer, "patience": 1.0, "large": 2**20, "strategy": strategy, **members}
    suite = type("Suite", (StreamConformance,), members)
    try:
        getattr(suite(), case)(style)
    except (AssertionError, OSError) as error:
        return str(error) or repr(error)
    return ""


class Sound(ThreadingMixIn):
    """Has no fault."""


class NeverCloses(ThreadingMixIn):
    def shutdown_request(self, request: Any) -> None:
        LOST.append(request)
        self.end_request(request)


class ClosesWithoutAnAccount(ThreadingMixIn):
    def run_request(self, request: Any, client_address: Any) -> None:
        self.finish_request(request, client_address)
        request.close()


class EndsTwice(ThreadingMixIn):
    def end_request(self, request: Any) -> None:
        context = self.active_requests.get(id(request))
        super().end_request(request)
        if context is not None and self.hooks.request_finished is not None:
            self.hooks.request_finished(context=context)


class Silent(ThreadingMixIn):
    """Fires no hooks for requests."""

    def begin_request(self, request: Any, client_address: Any) -> Any:
        hooks, self.hooks = self.hooks, type(self).hooks
        try:
            return super().begin_request(request, client_address)
        finally:
            self.hooks = hooks


class HushesErrors(ThreadingMixIn):
    def take_error(self, request: Any, client_address: Any, error: Exception) -> None:
        pass


class Unlimited(ThreadingMixIn):
    """Ignores max_active_requests."""

    def has_room(self) -> bool:
        return True


class TurnsAway(ThreadingMixIn):
    """Accepts what it has no room for, only to turn it away."""

    def has_room(self) -> bool:
        return sys._getframe(1).f_code.co_name.startswith("_prepare") or super().has_room()


class SecretlySerial(SyncMixIn):
    serial: ClassVar[bool] = False


class Deaf(ThreadingMixIn):
    """Does not drain."""

    def drain(self, timeout: float) -> None:
        pass


class Forgets(ThreadingMixIn):
    """Leaves the backlog when it drains."""

    def drain(self, timeout: float) -> None:
        self.stop_listening()
        super().drain(timeout)


class Patient(ThreadingMixIn):
    """Cuts nothing at the deadline of a drain."""

    def abort_requests(self, *, force: bool = False) -> None:
        pass


class Swallows(ThreadingMixIn):
    """Sends only the first half of what is written at once, when it is much."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        super().finish_request(_Swallowing(request), client_address)


class _Swallowing:
    def __init__(self, request: Any) -> None:
        self._request = request

    def sendall(self, data: bytes) -> None:
        self._request.sendall(data[: len(data) // 2] if len(data) > 10000 else data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


class Hoards(ThreadingMixIn):
    """Keeps what a client does not take in memory, without limit."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        hoard = _Hoarding(request)
        super().finish_request(hoard, client_address)
        request.sendall(b"".join(hoard.kept))


class _Hoarding(_Swallowing):
    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.kept: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.kept.append(data)


class EndsAtHalfClose(ThreadingMixIn):
    """Takes the client's end of input for the end of the connection."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        threading.Thread(target=_cut_at_end, args=(request,), daemon=True).start()
        super().finish_request(request, client_address)


def _cut_at_end(request: Any) -> None:
    import select

    poll = select.poll()
    poll.register(request.fileno(), select.POLLRDHUP)
    if poll.poll(1000):
        request.shutdown(socket.SHUT_RDWR)


class LeavesThreads(ThreadingMixIn):
    def process_request(self, request: Any, client_address: Any) -> None:
        threading.Timer(1.5, os.getpid).start()
        super().process_request(request, client_address)


class Timeless(ThreadingMixIn):
    """Knows of no timeouts."""

    def expire_request(self, context: Any, reason: str) -> None:
        pass

    def begin_request(self, request: Any, client_address: Any) -> Any:
        context = super().begin_request(request, client_address)
        request.settimeout(None)
        return context


FAULTS: list[tuple[type, str, dict[str, Any]]] = [
    (NeverCloses, "test_server_closes_early", {}),
    (NeverCloses, "test_echo", {}),
    (ClosesWithoutAnAccount, "test_echo", {}),
    (EndsTwice, "test_hooks", {}),
    (EndsTwice, "test_echo", {}),
    (Silent, "test_hooks", {}),
    (HushesErrors, "test_error_on_data", {}),
    (Unlimited, "test_max_active_requests", {}),
    (TurnsAway, "test_max_active_requests", {}),
    (SecretlySerial, "test_clients_at_once", {"at_once": 2}),
    (SecretlySerial, "test_max_active_requests", {}),
    (Deaf, "test_hooks", {}),
    (Forgets, "test_drain_takes_the_backlog", {}),
    (Patient, "test_drain_cuts_at_the_deadline", {}),
    (Swallows, "test_large_download", {}),
    (Hoards, "test_slow_reader", {}),
    (EndsAtHalfClose, "test_half_close", {}),
    (LeavesThreads, "test_echo", {}),
    (Timeless, "test_request_timeout", {}),
    (Timeless, "test_idle_timeout", {}),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("strategy", "case", "members"), FAULTS, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_fault_is_found(strategy: type, case: str, members: dict[str, Any]) -> None:
    assert fails(strategy, case, **members)
    assert not fails(Sound, case, **members)


def test_cases_of_a_serial_strategy() -> None:
    class Serial(StreamConformance):
        strategy = SyncMixIn
        server = TCPServer

    names = {name for name, _ in Serial.cases()}
    assert "test_echo" in names
    assert not names & {"test_max_active_requests", "test_blocking_harms_nobody_else"}
    assert Serial.test_max_active_requests is None


def test_styles_of_a_case() -> None:
    class Threaded(StreamConformance):
        strategy = ThreadingMixIn
        server = TCPServer

    cases = list(Threaded.cases())
    assert [style for name, (style,) in cases if name == "test_echo"] == [
        "blocking",
        "protocol",
        "async",
        "message",
    ]
    assert [style for name, (style,) in cases if name == "test_server_closes_early"] == [
        "blocking",
        "protocol",
        "async",
    ]


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_it_needs_no_pytest_and_nothing_needs_it() -> None:
    code = "import plugport, plugport.cli, plugport.service, sys; print('plugport.testing' in sys.modules)"
    assert run_python(code) == "False"
    code = "import plugport.testing.conformance, sys; print('pytest' in sys.modules)"
    assert run_python(code) == "False"


def test_components_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from plugport.testing import serving

    components: dict[tuple[str, str], Callable[..., Any]] = {
        ("server", "tcp"): TCPServer,
        ("concurrency", "sound"): Sound,
    }

    class Registry:
        def get(self, kind: str, name: str) -> Any:
            return components[kind, name]

    monkeypatch.setattr(serving, "default_registry", Registry)
    assert not fails("sound", "test_echo", server="tcp")  # type: ignore[arg-type]
