"""Strategies with a fault each, to see that the conformance cases find it."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any

import pytest
from faults import LOST, Fault, cases_of, found, releasing, verdict
from patience import PATIENCE

from plugport import StrategyTraits
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer
from plugport_builtins.servers.unix import UnixDatagramServer
from plugport_testing.conformance import Conformance, DatagramConformance, StreamConformance

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(autouse=True)
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with releasing(monkeypatch):
        yield


class Sound(ThreadingMixIn):
    """Has no fault."""


class NeverCloses(ThreadingMixIn):
    def shutdown_request(self, request: Any) -> None:
        LOST.append(request.close)
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
    def handle_failure(self, request: Any, client_address: Any, error: Exception) -> None:
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
    traits = StrategyTraits(parallel=True)


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
        poll = select.poll()
        poll.register(request.fileno(), select.POLLRDHUP)
        if poll.poll(1000):
            request.shutdown(socket.SHUT_RDWR)
        super().finish_request(request, client_address)


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


class WantsAWord(ThreadingMixIn):
    """Takes a client that says nothing for a failure."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        if not request.recv(1, socket.MSG_PEEK):
            raise EOFError("not a word")
        super().finish_request(request, client_address)


class _Replaced(_Swallowing):
    """A request with another file to read from."""

    def __init__(self, request: Any, lines: Iterable[bytes]) -> None:
        super().__init__(request)
        self._lines = lines

    def sendall(self, data: bytes) -> None:
        self._request.sendall(data)

    def makefile(self, mode: str, buffering: int) -> Any:
        return self

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._lines)

    def close(self) -> None:
        pass


class HearsOnlySome(ThreadingMixIn):
    """Takes thirty lines, and what begins with !."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        with request.makefile("rb") as file:
            lines = itertools.chain(itertools.islice(file, 30), _last_of(file))
            super().finish_request(_Replaced(request, lines), client_address)


def _last_of(lines: Iterable[bytes]) -> Iterator[bytes]:
    """What begins with !, of *lines*."""
    return (line for line in lines if line.startswith(b"!"))


class HearsOnePiece(ThreadingMixIn):
    """Takes what comes first for all there is."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        super().finish_request(_Replaced(request, [request.recv(65536)]), client_address)


class Gobbles(ThreadingMixIn):
    """Keeps in memory what the handler does not read, without limit."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        chunks: SimpleQueue[bytes] = SimpleQueue()

        def gobble() -> None:
            with request.makefile("rb") as file:
                for line in file:
                    chunks.put(line)
            chunks.put(b"")

        thread = threading.Thread(target=gobble)
        thread.start()
        try:
            super().finish_request(_Replaced(request, iter(chunks.get, b"")), client_address)
        finally:
            thread.join()


class BlamesTheHandler(ThreadingMixIn):
    """Takes a client that leaves for a failure of the handler."""

    def fail_request(self, request: Any, error: BaseException) -> None:
        super().fail_request(request, RuntimeError(str(error)))


class OverlooksWhatBreaks(ThreadingMixIn):
    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(ConnectionError):
            super().finish_request(request, client_address)


class Miscounts(ThreadingMixIn):
    def end_request(self, request: Any) -> None:
        context = self.active_requests.get(id(request))
        if context is not None:
            context.bytes_received = context.bytes_sent = 0
        super().end_request(request)


class Hasty(ThreadingMixIn):
    """Cuts what is active as soon as it is to drain."""

    def drain(self, timeout: float) -> None:
        super().drain(0.0)


class Unstoppable(ThreadingMixIn):
    def shutdown(self) -> None:
        pass


class Choosy(ThreadingMixIn):
    """Turns some clients away."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return bool(client_address[1] % 5)


class ServesOne(ThreadingMixIn):
    """Serves the first of several servers."""

    @classmethod
    def serve_together(cls, servers: Sequence[Any], poll_interval: float = 0.5) -> None:
        super().serve_together(servers[:1], poll_interval)


class KeepsTheFailed(ThreadingMixIn):
    """Does not close the connection of a handler that failed."""

    def run_request(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception as error:
            self.handle_failure(request, client_address, error)
            self.end_request(request)
            LOST.append(request.close)
        else:
            self.conclude_request(request)


class HushesTheEnd(HushesErrors):
    """Says nothing of what fails while the handler clears up."""

    def handle_failure(self, request: Any, client_address: Any, error: Exception) -> None:
        if "at the end" not in str(error):
            ThreadingMixIn.handle_failure(self, request, client_address, error)


class Panics(ThreadingMixIn):
    """Cuts all when one fails."""

    def handle_failure(self, request: Any, client_address: Any, error: Exception) -> None:
        super().handle_failure(request, client_address, error)
        self.abort_requests()


class BeginsAtOnce(ThreadingMixIn):
    """Waits for no prelude."""

    def enter_loop(self, loop: Any) -> None:
        super().enter_loop(loop)
        self.intake.pending = None
        self.intake.deliver = self.begin_and_process


class GivesThemPlaces(ThreadingMixIn):
    """Counts who waits among the active requests."""

    def has_room(self) -> bool:
        waiting = len(self.intake.pending or ())
        return super().has_room() and waiting < (self.max_active_requests or waiting + 1)


class TakesAnyNumber(ThreadingMixIn):
    """Lets wait who likes, as long as they like."""

    def enter_loop(self, loop: Any) -> None:
        self.max_preludes, self.prelude_timeout = 10**6, 1e6
        super().enter_loop(loop)


class HushesRejections(ThreadingMixIn):
    def reject_request(self, client_address: Any, reason: str) -> None:
        pass


class DropsWhoWaits(ThreadingMixIn):
    """Turns away who is at its preludes when it is to listen no more."""

    def stop_listening(self) -> None:
        if self.intake.pending is not None and self.is_draining():
            self.intake.pending.reject_all("the service has ended")
        super().stop_listening()


class ChecksItselfAlone(ThreadingMixIn):
    @classmethod
    def check_options(cls) -> None:
        pass


class CutsDatagrams(ThreadingMixIn):
    def finish_request(self, request: Any, client_address: Any) -> None:
        data, sock = request
        super().finish_request((data[:1000], sock), client_address)


class MixesUp(ThreadingMixIn):
    """Answers one client what another has asked, now and then."""

    _former: Any = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        former, self._former = self._former, client_address
        super().finish_request(request, former or client_address)


class GivesUp(ThreadingMixIn):
    """Ends when an answer can't be delivered."""

    def handle_failure(self, request: Any, client_address: Any, error: Exception) -> None:
        self._BaseServer__shutdown_request = True
        self.wake()
        super().handle_failure(request, client_address, error)


class DropsTheBacklog(ThreadingMixIn):
    """Turns away what waits when it is to drain."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return not self.is_draining()


STREAM: list[Fault] = [
    Fault(NeverCloses, "test_echo"),
    Fault(NeverCloses, "test_server_closes_early"),
    Fault(ClosesWithoutAnAccount, "test_echo"),
    Fault(EndsTwice, "test_echo"),
    Fault(WantsAWord, "test_empty_connection"),
    Fault(Swallows, "test_large_download"),
    Fault(HearsOnlySome, "test_large_upload"),
    Fault(Swallows, "test_large_both_ways"),
    Fault(EndsAtHalfClose, "test_half_close"),
    Fault(BlamesTheHandler, "test_client_closes_early"),
    Fault(OverlooksWhatBreaks, "test_reset"),
    Fault(Hoards, "test_slow_reader"),
    Fault(HearsOnePiece, "test_slow_writer"),
    Fault(Gobbles, "test_neither_side_reads", settings={"buffers": 8 * 2**20}),
    Fault(EndsTwice, "test_hooks"),
    Fault(Silent, "test_hooks"),
    Fault(Deaf, "test_hooks"),
    Fault(Miscounts, "test_bytes_are_counted"),
    Fault(Unlimited, "test_max_active_requests"),
    Fault(TurnsAway, "test_max_active_requests"),
    Fault(SecretlySerial, "test_max_active_requests"),
    Fault(Timeless, "test_request_timeout"),
    Fault(Timeless, "test_idle_timeout"),
    Fault(Hasty, "test_drain_finishes_what_is_active"),
    Fault(Forgets, "test_drain_serves_the_backlog"),
    Fault(Patient, "test_drain_aborts_at_the_deadline"),
    Fault(Unstoppable, "test_shutdown"),
    Fault(SecretlySerial, "test_clients_at_once", settings={"at_once": 2}),
    Fault(Choosy, "test_many_clients", settings={"client_count": 50}),
    Fault(ServesOne, "test_listeners"),
    Fault(HushesErrors, "test_error_at_the_beginning"),
    Fault(KeepsTheFailed, "test_error_at_the_beginning"),
    Fault(HushesErrors, "test_error_on_data"),
    Fault(KeepsTheFailed, "test_error_after_a_wait"),
    Fault(HushesErrors, "test_error_at_the_end_of_input"),
    Fault(HushesTheEnd, "test_error_at_the_end"),
    Fault(Panics, "test_error_affects_no_other_client"),
    Fault(SecretlySerial, "test_blocking_handler_delays_no_other"),
    Fault(LeavesThreads, "test_echo"),
    Fault(ChecksItselfAlone, "test_options_of_the_server"),
    Fault(BeginsAtOnce, "test_prelude"),
    Fault(GivesThemPlaces, "test_silent_clients_delay_no_other"),
    Fault(TakesAnyNumber, "test_too_many_silent_clients"),
    Fault(TakesAnyNumber, "test_prelude_timeout"),
    Fault(HushesRejections, "test_bad_prelude"),
    Fault(Unlimited, "test_prelude_waits_for_room"),
    Fault(DropsWhoWaits, "test_drain_waits_for_preludes"),
]

DATAGRAM: list[Fault] = [
    Fault(CutsDatagrams, "test_echo"),
    Fault(HushesErrors, "test_error"),
    Fault(MixesUp, "test_burst"),
    Fault(GivesUp, "test_unreachable_client", settings={"server": UnixDatagramServer, "url": "unix"}),
    Fault(Silent, "test_hooks"),
    Fault(DropsTheBacklog, "test_drain_answers_waiting_datagrams"),
    Fault(ServesOne, "test_listeners"),
]


def assert_found(suite: type[Conformance], fault: Fault, server: type) -> None:
    settings = {"server": server, "large": 2**20, **fault.settings}
    arguments = () if fault.case == "test_options_of_the_server" else ("blocking",)
    assert verdict(suite, fault.case, arguments, strategy=fault.component, **settings)
    assert not verdict(suite, fault.case, arguments, strategy=Sound, patience=PATIENCE, **settings)


@pytest.mark.parametrize("fault", STREAM, ids=str)
def test_a_fault_is_found(fault: Fault) -> None:
    assert_found(StreamConformance, fault, TCPServer)


@pytest.mark.parametrize("fault", DATAGRAM, ids=str)
def test_a_fault_with_datagrams_is_found(fault: Fault) -> None:
    assert_found(DatagramConformance, fault, UDPServer)


def test_every_case_finds_a_fault() -> None:
    assert found(STREAM) == cases_of(StreamConformance)
    assert found(DATAGRAM) == cases_of(DatagramConformance)
