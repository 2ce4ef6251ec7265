"""Mutants of each built-in strategy and server: the real ones but for one slip each, which a case finds.

Each is one that an edit could make of the source: a close that is lost, a hook that is not fired, a
limit that is not asked for.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from faults import LOST, Fault, new_methods, releasing, verdict
from patience import PATIENCE

from plugport import RequestContext
from plugport.transports import StreamTransport
from plugport_builtins.concurrency.asyncio import AsyncioMixIn
from plugport_builtins.concurrency.forking import ForkingMixIn
from plugport_builtins.concurrency.select import SelectMixIn
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.thread_pool import ThreadPoolMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer
from plugport_builtins.servers.unix import UnixDatagramServer, UnixStreamServer
from plugport_testing.conformance import ServerConformance, StreamConformance

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning",
)


@pytest.fixture(autouse=True)
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with releasing(monkeypatch):
        yield


# Strategies ---------------------------------------------------------------------------------------


class SyncThatKeepsConnections(SyncMixIn):
    def conclude_request(self, request: Any) -> None:
        self.end_request(request)
        LOST.append(request.close)


class SyncWithoutATimer(SyncMixIn):
    def process_request(self, request: Any, client_address: Any) -> None:
        self.run_request(request, client_address)


class SyncThatRejectsTheBacklog(SyncMixIn):
    """Rejects the connections that waited while it was busy."""

    def has_room(self) -> bool:
        return not self.is_draining() and super().has_room()


class ThreadingWithoutARecord(ThreadingMixIn):
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        LOST.append(request.close)
        self.finish_request(request, client_address)
        request.close()


class ThreadingThatJoins(ThreadingMixIn):
    """Waits for each thread."""

    def process_request(self, request: Any, client_address: Any) -> None:
        super().process_request(request, client_address)
        self._threads.join()


class ThreadingThatHasAlwaysRoom(ThreadingMixIn):
    def has_room(self) -> bool:
        return True


class PoolThatIsNotClosed(ThreadPoolMixIn):
    def server_close(self) -> None:
        if self._pool is not None:
            pool = self._pool
            LOST.append(lambda: pool.close(wait=True))
        self._pool = None
        super().server_close()


class PoolOfOne(ThreadPoolMixIn):
    def process_request(self, request: Any, client_address: Any) -> None:
        self.max_workers = 1
        super().process_request(request, client_address)


class PoolThatSwallowsErrors(ThreadPoolMixIn):
    """Calls a request completed whatever its handler raises."""

    def run_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(Exception):
            self.finish_request(request, client_address)
        self.conclude_request(request)


class ForkingWhoseParentKeepsACopy(ForkingMixIn):
    """Keeps the parent's copy of each connection."""

    def fork_request(self, request: Any) -> bool:
        LOST.append(socket.socket(fileno=os.dup(request.fileno())).close)
        return super().fork_request(request)


class ForkingThatReapsNoChild(ForkingMixIn):
    def _reap(self, child: Any) -> None:
        if child.pid in self.active_children:  # type: ignore[operator]
            self.active_children.discard(child.pid)  # type: ignore[union-attr]
            LOST.append(lambda: os.waitpid(child.pid, 0))


class ForkingThatReadsNoReport(ForkingMixIn):
    def _end_request_of(self, child: Any, unreported: Any = "aborted") -> None:
        child.report = b""
        super()._end_request_of(child, unreported)


class SelectThatKeepsConnections(SelectMixIn):
    def transport_lost(self, transport: Any) -> None:
        request = transport.context.request
        self.end_request(request)
        LOST.append(request.close)


class SelectWithoutPause(SelectMixIn):
    """Buffers replies without limit."""

    def process_request(self, request: Any, client_address: Any) -> None:
        context = self.active_requests[id(request)]
        request.setblocking(False)
        protocol = self.RequestHandlerClass(context)
        context.transport = StreamTransport(self.serving_loop, request, protocol, self, context)
        context.transport.set_write_buffer_limits(2**40)
        context.transport.start()


class SelectThatForgetsFailures(SelectMixIn):
    def transport_failed(self, transport: Any, error: Exception) -> None:
        pass


class AsyncioThatHasAlwaysRoom(AsyncioMixIn):
    def has_room(self) -> bool:
        return True


class AsyncioThatLosesTheHooksOfCoroutines(AsyncioMixIn):
    async def _run_async(self, context: RequestContext) -> None:
        finished, self.hooks.request_finished = self.hooks.request_finished, None
        try:
            await super()._run_async(context)
        finally:
            self.hooks.request_finished = finished


class AsyncioWhosePoolStays(AsyncioMixIn):
    def server_close(self) -> None:
        if self._pool is not None:
            pool = self._pool
            LOST.append(lambda: pool.close(wait=True))
        self._pool = None
        super().server_close()


STRATEGIES: list[Fault] = [
    Fault(SyncThatKeepsConnections, "test_empty_connection", ("blocking",)),
    Fault(SyncWithoutATimer, "test_request_timeout", ("blocking",)),
    Fault(SyncThatRejectsTheBacklog, "test_drain_serves_the_backlog", ("message",)),
    Fault(ThreadingWithoutARecord, "test_error_on_data", ("blocking",)),
    Fault(ThreadingThatJoins, "test_clients_at_once", ("protocol",), {"at_once": 3}),
    Fault(ThreadingThatHasAlwaysRoom, "test_max_active_requests", ("async",)),
    Fault(PoolThatIsNotClosed, "test_echo", ("message",)),
    Fault(PoolOfOne, "test_clients_at_once", ("blocking",), {"at_once": 3}),
    Fault(PoolThatSwallowsErrors, "test_hooks", ("blocking",)),
    Fault(ForkingWhoseParentKeepsACopy, "test_echo", ("blocking",)),
    Fault(ForkingThatReapsNoChild, "test_echo", ("blocking",)),
    Fault(ForkingThatReadsNoReport, "test_error_on_data", ("protocol",)),
    Fault(SelectThatKeepsConnections, "test_half_close", ("protocol",)),
    Fault(SelectWithoutPause, "test_slow_reader", ("protocol",)),
    Fault(SelectThatForgetsFailures, "test_error_on_data", ("message",)),
    Fault(AsyncioThatHasAlwaysRoom, "test_max_active_requests", ("protocol",)),
    Fault(AsyncioThatLosesTheHooksOfCoroutines, "test_hooks", ("async",)),
    Fault(AsyncioWhosePoolStays, "test_echo", ("blocking",)),
]


# Servers ------------------------------------------------------------------------------------------


class TCPThatKeepsATimeout(TCPServer):
    """Returns connections with a timeout."""

    def get_request(self) -> tuple[Any, Any]:
        request, client_address = super().get_request()
        request.settimeout(1)
        return request, client_address


class TCPWithoutEof(TCPServer):
    def shutdown_request(self, request: Any) -> None:
        self.end_request(request)
        self.close_request(request)


class TCPWithAQueueOfItsOwn(TCPServer):
    def server_activate(self) -> None:
        self.socket.listen()


class UDPThatTruncates(UDPServer):
    def get_request(self) -> tuple[Any, Any]:
        data, client_address = self.socket.recvfrom(8192)  # the standard library's max_packet_size
        return (data, self.socket), client_address


class UDPThatIgnoresItsLimit(UDPServer):
    def get_request(self) -> tuple[Any, Any]:
        data, client_address = self.socket.recvfrom(65535)
        return (data, self.socket), client_address


class UDPThatClosesRequestsLikeTCP(UDPServer):
    """Shuts its socket down with the first datagram."""

    def shutdown_request(self, request: Any) -> None:
        TCPServer.shutdown_request(self, request[1])


class UnixThatLeavesItsFile(UnixStreamServer):
    def _remove_file(self) -> None:
        pass


class UnixWithoutAFileOfItsOwn(UnixStreamServer):
    """Removes the socket file of another server too."""

    def _remove_file(self) -> None:
        if os.path.exists(self.server_address):
            os.unlink(self.server_address)


class UnixThatRefusesStaleFiles(UnixStreamServer):
    def server_bind(self) -> None:
        TCPServer.server_bind(self)


class UnixgramThatLeavesItsFile(UnixDatagramServer):
    def server_close(self) -> None:
        UDPServer.server_close(self)


class UnixgramThatIgnoresTheBacklog(UnixDatagramServer):
    """Closes its socket when it is to listen no more."""

    def stop_listening(self) -> None:
        self.socket.close()


class UnixgramThatReplacesAnything(UnixDatagramServer):
    """Does not look what is there before it binds."""

    def server_bind(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.server_address)
        super().server_bind()


UNDER_SYNC = ("sync",)

SERVERS: list[Fault] = [
    Fault(TCPThatKeepsATimeout, "test_get_request"),
    Fault(TCPWithoutEof, "test_shutdown_request"),
    Fault(TCPWithAQueueOfItsOwn, "test_request_queue_size"),
    Fault(UDPThatTruncates, "test_get_datagram"),
    Fault(UDPThatIgnoresItsLimit, "test_max_packet_size", UNDER_SYNC),
    Fault(UDPThatClosesRequestsLikeTCP, "test_serves", UNDER_SYNC),
    Fault(UnixThatLeavesItsFile, "test_socket_file"),
    Fault(UnixWithoutAFileOfItsOwn, "test_socket_file_of_another_server"),
    Fault(UnixThatRefusesStaleFiles, "test_stale_socket_file"),
    Fault(UnixgramThatLeavesItsFile, "test_socket_file"),
    Fault(UnixgramThatIgnoresTheBacklog, "test_drain_serves_the_backlog", UNDER_SYNC),
    Fault(UnixgramThatReplacesAnything, "test_file_of_another_kind"),
]


def original(mutant: type) -> type:
    """The built-in that it is a mutant of."""
    return mutant.__bases__[0]


@pytest.mark.slow
@pytest.mark.parametrize("mutant", STRATEGIES, ids=str)
def test_a_mutant_of_a_strategy_is_found(mutant: Fault) -> None:
    settings = {"server": TCPServer, "large": 2**20, **mutant.settings}
    assert verdict(StreamConformance, mutant.case, mutant.arguments, strategy=mutant.component, **settings)
    settings |= {"strategy": original(mutant.component), "patience": PATIENCE}
    assert not verdict(StreamConformance, mutant.case, mutant.arguments, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", SERVERS, ids=str)
def test_a_mutant_of_a_server_is_found(mutant: Fault) -> None:
    settings = {"url": "unix" if "Unix" in original(mutant.component).__name__ else "tcp"}
    assert verdict(ServerConformance, mutant.case, mutant.arguments, server=mutant.component, **settings)
    settings |= {"server": original(mutant.component), "patience": PATIENCE}
    assert not verdict(ServerConformance, mutant.case, mutant.arguments, **settings)


@pytest.mark.parametrize("mutant", STRATEGIES + SERVERS, ids=str)
def test_a_mutant_overrides_methods_that_exist(mutant: Fault) -> None:
    assert new_methods(mutant.component) == []


def test_there_are_three_of_each() -> None:
    strategies = (SyncMixIn, ThreadingMixIn, ThreadPoolMixIn, ForkingMixIn, SelectMixIn, AsyncioMixIn)
    servers = (TCPServer, UDPServer, UnixStreamServer, UnixDatagramServer)
    assert Counter(original(mutant.component) for mutant in STRATEGIES) == dict.fromkeys(strategies, 3)
    assert Counter(original(mutant.component) for mutant in SERVERS) == dict.fromkeys(servers, 3)
