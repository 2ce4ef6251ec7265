"""Servers with a fault each, to see that the conformance cases find it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from faults import LOST, Fault, cases_of, found, new_methods, releasing, verdict
from patience import PATIENCE

from plugport.serving.url import Url
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer
from plugport_builtins.servers.unix import UnixDatagramServer, UnixStreamServer
from plugport_testing.conformance import ServerConformance


@pytest.fixture(autouse=True)
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with releasing(monkeypatch):
        yield


# Addresses ----------------------------------------------------------------------------------------


class KeepsTheGivenAddress(TCPServer):
    """Keeps the address that was given, with port 0."""

    def server_bind(self) -> None:
        wanted = self.server_address
        super().server_bind()
        self.server_address = wanted


class ReportsAnotherPort(TCPServer):
    def listening_url(self) -> str:
        return f"{self.scheme}://{self.server_address[0]}:1"


class AcceptsAnyUrl(TCPServer):
    """Does not check URLs."""

    @classmethod
    def resolve_url(cls, url: Url) -> tuple[Any, dict[str, Any]]:
        host, port = url.rest.split(":")
        return (host, int(port)), {}


class SharesThePort(TCPServer):
    """Always shares its port."""

    def _share_port(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def server_bind(self) -> None:
        self._share_port()
        super().server_bind()


class SharesNoPort(TCPServer):
    """Never shares its port."""

    def _share_port(self) -> None:
        pass


class LeaksItsSocket(TCPServer):
    """Keeps a socket that could not be bound."""

    def server_close(self) -> None:
        if self.socket.fileno() >= 0 and self.socket.getsockname()[1] == 0:
            LOST.append(self.socket.close)
        else:
            super().server_close()


class DoesNotReuseTheAddress(TCPServer):
    """Binds without SO_REUSEADDR."""

    def server_bind(self) -> None:
        self.allow_reuse_address = False
        super().server_bind()


class LongQueue(TCPServer):
    def server_activate(self) -> None:
        self.socket.listen(100)


class ShortQueue(TCPServer):
    def server_activate(self) -> None:
        self.socket.listen(1)


class LeavesTheFile(UnixStreamServer):
    def server_close(self) -> None:
        TCPServer.server_close(self)


class LeavesTheFileAtFirst(UnixStreamServer):
    def stop_listening(self) -> None:
        TCPServer.stop_listening(self)


class RefusesStaleFiles(UnixStreamServer):
    def server_bind(self) -> None:
        if os.path.lexists(self.server_address):
            raise FileExistsError(17, "File exists")
        super().server_bind()


class ReplacesAnything(UnixStreamServer):
    def server_bind(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.server_address)
        super().server_bind()


class RemovesAnything(UnixStreamServer):
    def server_close(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.server_address)
        super().server_close()


# Template methods ---------------------------------------------------------------------------------


class AcceptsNonBlocking(TCPServer):
    """Returns non-blocking connections."""

    def get_request(self) -> tuple[Any, Any]:
        request, client_address = super().get_request()
        request.setblocking(False)
        return request, client_address


class ReportsNoAddress(TCPServer):
    """Reports no client's address."""

    def get_request(self) -> tuple[Any, Any]:
        return super().get_request()[0], ("", 0)


class TruncatesDatagrams(UDPServer):
    def get_request(self) -> tuple[Any, Any]:
        data, client_address = self.socket.recvfrom(8192)
        return (data, self.socket), client_address


class SendsNoEof(TCPServer):
    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)


class EndsForAllProcesses(TCPServer):
    """Ends a connection that a child still uses."""

    def close_request(self, request: Any) -> None:
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
        super().close_request(request)


class NeverCloses(TCPServer):
    def close_request(self, request: Any) -> None:
        self.end_request(request)
        LOST.append(request.close)


class ClosesItsSocket(UDPServer):
    """Closes the server's socket with a datagram."""

    def close_request(self, request: Any) -> None:
        self.end_request(request)
        request[1].close()


class ListensForever(TCPServer):
    def stop_listening(self) -> None:
        pass


class ClosesTheReplySocket(UDPServer):
    """Closes the socket, which replies still need, when it stops listening."""

    def stop_listening(self) -> None:
        self.socket.close()


class ClosesOnce(TCPServer):
    def server_close(self) -> None:
        self.socket.getsockname()
        super().server_close()


# Requests -----------------------------------------------------------------------------------------


class ServesOne(TCPServer):
    """Accepts one request, and fails to accept another."""

    taken = False

    def get_request(self) -> tuple[Any, Any]:
        request, client_address = super().get_request()
        if self.taken:
            LOST.append(request.close)
            raise OSError("one is enough")
        self.taken = True
        return request, client_address


class OneAtATime(TCPServer):
    def has_room(self) -> bool:
        return not self.active_requests


class KeepsFailedConnections(TCPServer):
    """Does not close the connection of a handler that failed."""

    failed: Any = None

    def fail_request(self, request: Any, error: BaseException) -> None:
        self.failed = request
        super().fail_request(request, error)

    def shutdown_request(self, request: Any) -> None:
        if request is self.failed:
            self.end_request(request)
            LOST.append(request.close)
        else:
            super().shutdown_request(request)


class AsksForThePeerName(TCPServer):
    """Fails if a client has disconnected before getpeername()."""

    def get_request(self) -> tuple[Any, Any]:
        request, _ = super().get_request()
        try:
            return request, request.getpeername()
        except OSError as error:
            LOST.append(request.close)
            raise LookupError("who is it?") from error


class SkipsVerifyRequest(TCPServer):
    """Never calls its own verify_request()."""

    def begin_request(self, request: Any, client_address: Any) -> Any:
        vars(self)["verify_request"] = lambda request, client_address: True
        return super().begin_request(request, client_address)


class KeepsRejectedConnections(TCPServer):
    """Does not close a rejected connection."""

    refused: Any = None

    def begin_request(self, request: Any, client_address: Any) -> Any:
        context = super().begin_request(request, client_address)
        if context is None:
            self.refused = request
        return context

    def shutdown_request(self, request: Any) -> None:
        if request is self.refused:
            LOST.append(request.close)
        else:
            super().shutdown_request(request)


class Answers(UDPServer):
    """Replies to a rejected client."""

    def reject_request(self, client_address: Any, reason: str) -> None:
        self.socket.sendto(b"go away", client_address)
        super().reject_request(client_address, reason)


class Unlimited(TCPServer):
    def has_room(self) -> bool:
        return True


class TakesAnySize(UDPServer):
    def get_request(self) -> tuple[Any, Any]:
        data, client_address = self.socket.recvfrom(self.max_packet_size)
        return (data, self.socket), client_address


# The end ------------------------------------------------------------------------------------------


class AbortsWhileItDrains(TCPServer):
    def stop_listening(self) -> None:
        super().stop_listening()
        self.abort_requests()


class ForgetsTheBacklog(TCPServer):
    """Drops the backlog when it drains."""

    def drain(self, timeout: float) -> None:
        self.stop_listening()
        super().drain(timeout)


UNDER_THREADS = ("threading",)

FAULTS: list[Fault] = [
    Fault(KeepsTheGivenAddress, "test_address"),
    Fault(ReportsAnotherPort, "test_url"),
    Fault(AcceptsAnyUrl, "test_invalid_urls"),
    Fault(SharesThePort, "test_address_in_use"),
    Fault(LeaksItsSocket, "test_address_in_use"),
    Fault(SharesNoPort, "test_allow_reuse_port"),
    Fault(DoesNotReuseTheAddress, "test_address_is_free_again"),
    Fault(LongQueue, "test_request_queue_size"),
    Fault(ShortQueue, "test_request_queue_size"),
    Fault(LeavesTheFile, "test_socket_file"),
    Fault(LeavesTheFileAtFirst, "test_socket_file_after_stop_listening"),
    Fault(RefusesStaleFiles, "test_stale_socket_file"),
    Fault(ReplacesAnything, "test_file_of_another_kind"),
    Fault(ReplacesAnything, "test_address_in_use"),
    Fault(RemovesAnything, "test_socket_file_of_another_server"),
    Fault(AcceptsNonBlocking, "test_get_request"),
    Fault(ReportsNoAddress, "test_get_request"),
    Fault(TruncatesDatagrams, "test_get_datagram"),
    Fault(SendsNoEof, "test_shutdown_request"),
    Fault(EndsForAllProcesses, "test_close_request"),
    Fault(NeverCloses, "test_close_request"),
    Fault(ClosesItsSocket, "test_close_datagram"),
    Fault(ListensForever, "test_stop_listening"),
    Fault(ClosesTheReplySocket, "test_stop_listening_to_datagrams"),
    Fault(ClosesOnce, "test_server_close"),
    Fault(ServesOne, "test_serves", UNDER_THREADS),
    Fault(OneAtATime, "test_serves_several_at_once", UNDER_THREADS),
    Fault(KeepsFailedConnections, "test_failed_request", UNDER_THREADS),
    Fault(AsksForThePeerName, "test_client_reset_before_accept", UNDER_THREADS),
    Fault(SkipsVerifyRequest, "test_verify_request", UNDER_THREADS),
    Fault(KeepsRejectedConnections, "test_verify_request", UNDER_THREADS),
    Fault(KeepsRejectedConnections, "test_verify_request_hook", UNDER_THREADS),
    Fault(Answers, "test_verify_request_hook", UNDER_THREADS),
    Fault(Unlimited, "test_max_active_requests", UNDER_THREADS),
    Fault(TakesAnySize, "test_max_packet_size", UNDER_THREADS),
    Fault(AbortsWhileItDrains, "test_drain", UNDER_THREADS),
    Fault(ForgetsTheBacklog, "test_drain_serves_the_backlog", UNDER_THREADS),
]


def sound(server: type) -> type:
    """The server without a fault that a faulty one derives from."""
    return next(base for base in server.__mro__ if base.__module__.startswith("plugport_builtins"))


def scheme(server: type) -> str:
    names = {TCPServer: "tcp", UDPServer: "udp", UnixStreamServer: "unix", UnixDatagramServer: "unixgram"}
    return names[sound(server)]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_found(fault: Fault) -> None:
    settings = {"url": scheme(fault.component), **fault.settings}
    assert verdict(ServerConformance, fault.case, fault.arguments, server=fault.component, **settings)
    sane = sound(fault.component)
    assert not verdict(
        ServerConformance, fault.case, fault.arguments, server=sane, patience=PATIENCE, **settings
    )


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_overrides_methods_that_exist(fault: Fault) -> None:
    assert new_methods(fault.component) == []


def test_every_case_finds_a_fault() -> None:
    assert found(FAULTS) == cases_of(ServerConformance)
