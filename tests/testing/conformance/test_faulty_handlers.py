"""Handlers with a fault each, to see that the conformance cases find it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from faults import LOST, Fault, cases_of, found, releasing, verdict
from patience import PATIENCE

from plugport import BaseRequestHandler, DatagramRequestHandler
from plugport_testing.conformance import HandlerConformance

#: What the sound handlers answer to it is this: all that is sent, in capitals.
QUESTION = b"first line\nsecond line\n"


@pytest.fixture(autouse=True)
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with releasing(monkeypatch):
        yield


class Upper(BaseRequestHandler):
    """Has no fault."""

    transports = frozenset({"stream"})

    def handle(self) -> None:
        self.request.sendall(self.read().upper())

    def read(self) -> bytes:
        """All that the client sends."""
        return b"".join(iter(lambda: self.request.recv(65536), b""))


class UpperDatagram(DatagramRequestHandler):
    """Has no fault, with datagrams."""

    def handle(self) -> None:
        self.wfile.write(self.packet.upper())


class RepliesWithAnother(Upper):
    """Gives the second client the reply of the first."""

    answers: list[bytes] = []

    def handle(self) -> None:
        self.answers.append(self.read().upper())
        self.request.sendall(self.answers[0] if len(self.answers) % 2 else b"")


class FailsAtTheEnd(Upper):
    def handle(self) -> None:
        super().handle()
        raise LookupError("no such thing")


class LeavesThreads(Upper):
    def handle(self) -> None:
        gate = threading.Event()
        thread = threading.Thread(target=gate.wait, name="a handler's")
        thread.start()
        LOST.extend([thread.join, gate.set])
        super().handle()


class ReadsOnce(Upper):
    """Reads one piece, and takes it for the whole question."""

    def read(self) -> bytes:
        data: bytes = self.request.recv(65536)
        return data


class OneByOne(Upper):
    """Serves one client at a time, and replies b"busy" to others."""

    busy = threading.Semaphore(1)

    def handle(self) -> None:
        if not self.busy.acquire(blocking=False):
            self.request.sendall(b"busy")
            return
        try:
            super().handle()
            threading.Event().wait(0.02)
        finally:
            self.busy.release()


class LeaksOnDisconnect(Upper):
    """Leaks a descriptor if the client disconnects before the end of its question."""

    def handle(self) -> None:
        file = open(__file__)
        LOST.append(file.close)
        data = self.read()
        if data.endswith(b"second line\n"):
            file.close()
        self.request.sendall(data.upper())


class ReadsUnderALock(Upper):
    """Holds a lock while it reads from a client."""

    lock = threading.Lock()

    def read(self) -> bytes:
        with self.lock:
            return super().read()


class LongUpper(Upper):
    """Has no fault, and a reply longer than the system buffers."""

    def handle(self) -> None:
        self.request.sendall(self.read().upper() * 2**24)


class WritesUnderALock(LongUpper):
    """Holds a lock while it writes to a client."""

    lock = threading.Lock()

    def handle(self) -> None:
        with self.lock:
            super().handle()


class StopsReplying(UpperDatagram):
    """Stops replying after a datagram that it does not understand."""

    offended: list[bytes] = []

    def handle(self) -> None:
        if not self.packet.endswith(b"second line\n"):
            self.offended.append(self.packet)
        if not self.offended:
            super().handle()


TCP, UDP = ("tcp-threading",), ("udp-threading",)
LARGE_ANSWER: dict[str, Any] = {"exchange": (b"x", b"X" * 2**24)}

FAULTS: list[Fault] = [
    Fault(RepliesWithAnother, "test_exchange", TCP),
    Fault(FailsAtTheEnd, "test_exchange", TCP),
    Fault(LeavesThreads, "test_exchange", TCP),
    Fault(ReadsOnce, "test_any_split", TCP),
    Fault(OneByOne, "test_many_at_once", TCP),
    Fault(LeaksOnDisconnect, "test_client_that_disconnects_early", TCP),
    Fault(ReadsUnderALock, "test_silent_client", TCP),
    Fault(WritesUnderALock, "test_client_that_does_not_read", TCP, LARGE_ANSWER),
    Fault(StopsReplying, "test_unexpected_datagrams", UDP),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_found(fault: Fault) -> None:
    settings = {"exchange": (QUESTION, QUESTION.upper()), **fault.settings}
    assert verdict(HandlerConformance, fault.case, fault.arguments, handler=fault.component, **settings)
    sane = fault.component.__bases__[0]
    assert not verdict(
        HandlerConformance, fault.case, fault.arguments, handler=sane, patience=PATIENCE, **settings
    )


def test_every_case_finds_a_fault() -> None:
    assert found(FAULTS) == cases_of(HandlerConformance)


@pytest.mark.parametrize(
    ("handler", "settings", "combination"),
    [
        (Upper, {"exchange": (b"a", b"a")}, TCP),
        (UpperDatagram, {"exchange": (b"A", b"A"), "datagram_exchange": (b"a", b"a")}, UDP),
        (UpperDatagram, {"exchange": (b"a", None)}, UDP),
        (Upper, {"exchange": (b"a", re.compile(b"[^A]"))}, TCP),
    ],
)
def test_wrong_reply_is_reported(handler: Any, settings: Any, combination: tuple[str, ...]) -> None:
    told = verdict(HandlerConformance, "test_exchange", combination, handler=handler, **settings)
    assert "b'A'" in told
    assert "should" in told
