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
from faults import LOST, Fault, cases_of, found, new_methods, releasing, verdict
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


class ClosesWithoutARecord(ThreadingMixIn):
    def run_request(self, request: Any, client_address: Any) -> None:
        self.finish_request(request, client_address)
        request.close()


class EndsTwice(ThreadingMixIn):
    def end_request(self, request: Any) -> None:
        context = self.active_requests.get(id(request))
        super().end_request(request)
        if context is not None and self.hooks.request_finished is not None:
            self.hooks.request_finished(context=context)


class CallsNoHooks(ThreadingMixIn):
    """Calls no hooks for requests."""

    def begin_request(self, request: Any, client_address: Any) -> Any:
        hooks, self.hooks = self.hooks, type(self).hooks
        try:
            return super().begin_request(request, client_address)
        finally:
            self.hooks = hooks


class HidesErrors(ThreadingMixIn):
    def handle_failure(self, request: Any, client_address: Any, error: Exception) -> None:
        pass


class Unlimited(ThreadingMixIn):
    """Ignores max_active_requests."""

    def has_room(self) -> bool:
        return True


class RejectsForLackOfRoom(ThreadingMixIn):
    """Accepts requests without room for them, and rejects them."""

    def has_room(self) -> bool:
        return sys._getframe(1).f_code.co_name.startswith("_prepare") or super().has_room()


class SecretlySerial(SyncMixIn):
    traits = StrategyTraits(parallel=True)


class DoesNotDrain(ThreadingMixIn):
    """Does not drain."""

    def drain(self, timeout: float) -> None:
        pass


class ForgetsTheBacklog(ThreadingMixIn):
    """Drops the backlog when it drains."""

    def drain(self, timeout: float) -> None:
        self.stop_listening()
        super().drain(timeout)


class IgnoresTheDeadline(ThreadingMixIn):
    """Aborts nothing at the deadline of a drain."""

    def abort_requests(self, *, force: bool = False) -> None:
        pass


class SendsHalf(ThreadingMixIn):
    """Sends only the first half of what is written at once, when it is much."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        super().finish_request(_SendingHalf(request), client_address)


class _SendingHalf:
    def __init__(self, request: Any) -> None:
        self._request = request

    def sendall(self, data: bytes) -> None:
        self._request.sendall(data[: len(data) // 2] if len(data) > 10000 else data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


class BuffersReplies(ThreadingMixIn):
    """Buffers replies in memory without limit."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        buffering = _Buffering(request)
        super().finish_request(buffering, client_address)
        request.sendall(b"".join(buffering.kept))


class _Buffering(_SendingHalf):
    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.kept: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.kept.append(data)


class EndsAtHalfClose(ThreadingMixIn):
    """Ends the connection at the client's end of input."""

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


class IgnoresTimeouts(ThreadingMixIn):
    """Ignores all timeouts."""

    def expire_request(self, context: Any, reason: str) -> None:
        pass

    def begin_request(self, request: Any, client_address: Any) -> Any:
        context = super().begin_request(request, client_address)
        request.settimeout(None)
        return context


class RequiresData(ThreadingMixIn):
    """Fails a request if the client sends nothing."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        if not request.recv(1, socket.MSG_PEEK):
            raise EOFError("not a word")
        super().finish_request(request, client_address)


class _Replaced(_SendingHalf):
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


class ReadsThirtyLines(ThreadingMixIn):
    """Reads thirty lines, and those that begin with !."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        with request.makefile("rb") as file:
            lines = itertools.chain(itertools.islice(file, 30), _last_of(file))
            super().finish_request(_Replaced(request, lines), client_address)


def _last_of(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Return those of *lines* that begin with !."""
    return (line for line in lines if line.startswith(b"!"))


class ReadsOnePiece(ThreadingMixIn):
    """Reads one piece, and takes it for the whole request."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        super().finish_request(_Replaced(request, [request.recv(65536)]), client_address)


class BuffersInput(ThreadingMixIn):
    """Buffers in memory, without limit, what the handler does not read."""

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


class ReportsDisconnectionsAsFailures(ThreadingMixIn):
    """Reports a client's disconnection as a failure of the handler."""

    def fail_request(self, request: Any, error: BaseException) -> None:
        super().fail_request(request, RuntimeError(str(error)))


class IgnoresConnectionErrors(ThreadingMixIn):
    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(ConnectionError):
            super().finish_request(request, client_address)


class Miscounts(ThreadingMixIn):
    def end_request(self, request: Any) -> None:
        context = self.active_requests.get(id(request))
        if context is not None:
            context.bytes_received = context.bytes_sent = 0
        super().end_request(request)


class AbortsAtOnce(ThreadingMixIn):
    """Aborts active requests as soon as it drains."""

    def drain(self, timeout: float) -> None:
        super().drain(0.0)


class Unstoppable(ThreadingMixIn):
    def shutdown(self) -> None:
        pass


class RejectsSome(ThreadingMixIn):
    """Rejects some clients."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return bool(client_address[1] % 5)


class ServesOne(ThreadingMixIn):
    """Serves the first of several servers."""

    @classmethod
    def serve_together(cls, servers: Sequence[Any], poll_interval: float = 0.5) -> None:
        super().serve_together(servers[:1], poll_interval)


class KeepsFailedConnections(ThreadingMixIn):
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


class HidesErrorsAtTheEnd(HidesErrors):
    """Does not report an error of the handler's clean-up."""

    def handle_failure(self, request: Any, client_address: Any, error: Exception) -> None:
        if "at the end" not in str(error):
            ThreadingMixIn.handle_failure(self, request, client_address, error)


class AbortsAllOnAnError(ThreadingMixIn):
    """Aborts all requests when one fails."""

    def handle_failure(self, request: Any, client_address: Any, error: Exception) -> None:
        super().handle_failure(request, client_address, error)
        self.abort_requests()


class SkipsPreludes(ThreadingMixIn):
    """Begins a request without its preludes."""

    def enter_loop(self, loop: Any) -> None:
        super().enter_loop(loop)
        self.intake.pending = None
        self.intake.deliver = self.begin_and_process


class CountsPendingConnections(ThreadingMixIn):
    """Counts pending connections as active requests."""

    def has_room(self) -> bool:
        waiting = len(self.intake.pending or ())
        return super().has_room() and waiting < (self.max_active_requests or waiting + 1)


class HasNoPreludeLimits(ThreadingMixIn):
    """Sets no limit to the number and the time of pending connections."""

    def enter_loop(self, loop: Any) -> None:
        self.max_preludes, self.prelude_timeout = 10**6, 1e6
        super().enter_loop(loop)


class HidesRejections(ThreadingMixIn):
    def reject_request(self, client_address: Any, reason: str) -> None:
        pass


class RejectsPendingOnDrain(ThreadingMixIn):
    """Rejects pending connections when it stops listening."""

    def stop_listening(self) -> None:
        if self.intake.pending is not None and self.is_draining():
            self.intake.pending.reject_all("the service has ended")
        super().stop_listening()


class SkipsTheServersCheck(ThreadingMixIn):
    @classmethod
    def check_options(cls) -> None:
        pass


class TruncatesDatagrams(ThreadingMixIn):
    def finish_request(self, request: Any, client_address: Any) -> None:
        data, sock = request
        super().finish_request((data[:1000], sock), client_address)


class RepliesToAnother(ThreadingMixIn):
    """Sends a reply to the client of an earlier datagram."""

    _former: Any = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        former, self._former = self._former, client_address
        super().finish_request(request, former or client_address)


class StopsOnAnError(ThreadingMixIn):
    """Stops serving when a reply can't be delivered."""

    def handle_failure(self, request: Any, client_address: Any, error: Exception) -> None:
        self._BaseServer__shutdown_request = True
        self.wake()
        super().handle_failure(request, client_address, error)


class DropsTheBacklog(ThreadingMixIn):
    """Rejects the backlog when it drains."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return not self.is_draining()


STREAM: list[Fault] = [
    Fault(NeverCloses, "test_echo"),
    Fault(NeverCloses, "test_server_closes_early"),
    Fault(ClosesWithoutARecord, "test_echo"),
    Fault(EndsTwice, "test_echo"),
    Fault(RequiresData, "test_empty_connection"),
    Fault(SendsHalf, "test_large_download"),
    Fault(ReadsThirtyLines, "test_large_upload"),
    Fault(SendsHalf, "test_large_both_ways"),
    Fault(EndsAtHalfClose, "test_half_close"),
    Fault(ReportsDisconnectionsAsFailures, "test_client_closes_early"),
    Fault(IgnoresConnectionErrors, "test_reset"),
    Fault(BuffersReplies, "test_slow_reader"),
    Fault(ReadsOnePiece, "test_slow_writer"),
    Fault(BuffersInput, "test_neither_side_reads", settings={"buffers": 8 * 2**20}),
    Fault(EndsTwice, "test_hooks"),
    Fault(CallsNoHooks, "test_hooks"),
    Fault(DoesNotDrain, "test_hooks"),
    Fault(Miscounts, "test_bytes_are_counted"),
    Fault(Unlimited, "test_max_active_requests"),
    Fault(RejectsForLackOfRoom, "test_max_active_requests"),
    Fault(SecretlySerial, "test_max_active_requests"),
    Fault(IgnoresTimeouts, "test_request_timeout"),
    Fault(IgnoresTimeouts, "test_idle_timeout"),
    Fault(AbortsAtOnce, "test_drain_finishes_what_is_active"),
    Fault(ForgetsTheBacklog, "test_drain_serves_the_backlog"),
    Fault(IgnoresTheDeadline, "test_drain_aborts_at_the_deadline"),
    Fault(Unstoppable, "test_shutdown"),
    Fault(SecretlySerial, "test_clients_at_once", settings={"at_once": 2}),
    Fault(RejectsSome, "test_many_clients", settings={"client_count": 50}),
    Fault(ServesOne, "test_listeners"),
    Fault(HidesErrors, "test_error_at_the_beginning"),
    Fault(KeepsFailedConnections, "test_error_at_the_beginning"),
    Fault(HidesErrors, "test_error_on_data"),
    Fault(KeepsFailedConnections, "test_error_after_a_wait"),
    Fault(HidesErrors, "test_error_at_the_end_of_input"),
    Fault(HidesErrorsAtTheEnd, "test_error_at_the_end"),
    Fault(AbortsAllOnAnError, "test_error_affects_no_other_client"),
    Fault(SecretlySerial, "test_blocking_handler_delays_no_other"),
    Fault(LeavesThreads, "test_echo"),
    Fault(SkipsTheServersCheck, "test_options_of_the_server"),
    Fault(SkipsPreludes, "test_prelude"),
    Fault(CountsPendingConnections, "test_silent_clients_delay_no_other"),
    Fault(HasNoPreludeLimits, "test_too_many_silent_clients"),
    Fault(HasNoPreludeLimits, "test_prelude_timeout"),
    Fault(HidesRejections, "test_bad_prelude"),
    Fault(Unlimited, "test_prelude_waits_for_room"),
    Fault(RejectsPendingOnDrain, "test_drain_waits_for_preludes"),
]

DATAGRAM: list[Fault] = [
    Fault(TruncatesDatagrams, "test_echo"),
    Fault(HidesErrors, "test_error"),
    Fault(RepliesToAnother, "test_burst"),
    Fault(StopsOnAnError, "test_unreachable_client", settings={"server": UnixDatagramServer, "url": "unix"}),
    Fault(CallsNoHooks, "test_hooks"),
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


@pytest.mark.parametrize("fault", STREAM + DATAGRAM, ids=str)
def test_a_fault_overrides_methods_that_exist(fault: Fault) -> None:
    assert new_methods(fault.component) == []


def test_every_case_finds_a_fault() -> None:
    assert found(STREAM) == cases_of(StreamConformance)
    assert found(DATAGRAM) == cases_of(DatagramConformance)
