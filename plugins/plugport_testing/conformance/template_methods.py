"""TemplateMethodCases: the contract of socketserver's template methods, which the cases call one by one."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from plugport.contracts import ClientAddress, DatagramRequest, StreamRequest
from plugport_testing.clients import socket_of
from plugport_testing.conformance.base import Needs
from plugport_testing.conformance.clients import Client
from plugport_testing.conformance.server_base import ServerCases
from plugport_testing.conformance.trial import Trial

__all__ = ["TemplateMethodCases"]


class TemplateMethodCases(ServerCases):
    """get_request(), shutdown_request(), close_request(), stop_listening(), server_close(), fileno()."""

    @Needs(transport="stream")
    def test_get_request(self) -> None:
        """get_request() returns a blocking connection and the client's address."""
        with self.binding() as trial, self._accepted(trial) as (client, request, client_address):
            assert request.gettimeout() is None
            if isinstance(client_address, tuple):
                assert client_address == client.sock.getsockname()
            client.send(b"to")
            assert request.recv(100) == b"to"
            request.sendall(b"fro\n")
            assert client.read_line() == b"fro"

    @Needs(transport="datagram")
    def test_get_datagram(self) -> None:
        """get_request() returns a complete datagram with the socket for replies, and the client's address."""
        with self.binding() as trial, self.client(trial) as client:
            for message in (b"one", b"", b"x" * 9000):
                client.sock.send(message)
                (data, sock), client_address = self._get_datagram(trial)
                assert data == message
                assert client_address == client.sock.getsockname()
                sock.sendto(b"reply", client_address)
                assert client.sock.recv(100) == b"reply"

    @Needs(transport="stream")
    def test_shutdown_request(self) -> None:
        """shutdown_request() ends the stream for the client, although a forked child has a copy of it."""
        with self.binding() as trial, self._accepted(trial) as (client, request, _), _copy(request):
            request.sendall(b"last line\n")
            trial.server.shutdown_request(request)
            assert request.fileno() < 0, "shutdown_request() does not close the connection"
            assert client.read_all() == b"last line\n"

    @Needs(transport="stream")
    def test_close_request(self) -> None:
        """close_request() closes the connection in this process only: a forked child continues with it."""
        with (
            self.binding() as trial,
            self._accepted(trial) as (client, request, _),
            _copy(request) as copy,
        ):
            trial.server.close_request(request)
            assert request.fileno() < 0, "close_request() does not close the connection"
            copy.sendall(b"still open\n")
            assert client.read_line() == b"still open", (
                "close_request() ends the connection for all processes"
            )

    @Needs(transport="datagram")
    def test_close_datagram(self) -> None:
        """shutdown_request() and close_request() of a datagram do not close the server's socket."""
        with self.binding() as trial, self.client(trial) as client:
            for end in (trial.server.close_request, trial.server.shutdown_request):
                client.sock.send(b"hello")
                request, client_address = self._get_datagram(trial)
                end(request)
                request[1].sendto(b"reply", client_address)
                assert client.sock.recv(100) == b"reply"

    @Needs(transport="stream")
    def test_stop_listening(self) -> None:
        """stop_listening() refuses new connections, and leaves accepted ones open."""
        with self.binding() as trial, self._accepted(trial) as (client, request, _):
            trial.server.stop_listening()
            assert trial.server.fileno() < 0, "stop_listening() leaves a socket that accepts connections"
            self.assert_refused(trial)
            request.sendall(b"still open\n")
            assert client.read_line() == b"still open"

    @Needs(transport="datagram")
    def test_stop_listening_to_datagrams(self) -> None:
        """stop_listening() keeps the socket of a datagram server, which replies still need."""
        with self.binding() as trial, self.client(trial) as client:
            client.sock.send(b"hello")
            (_, sock), client_address = self._get_datagram(trial)
            trial.server.stop_listening()
            sock.sendto(b"reply", client_address)
            assert client.sock.recv(100) == b"reply"

    def test_server_close(self) -> None:
        """server_close() closes the socket, so that fileno() is negative; a second call has no effect."""
        with self.binding() as trial:
            sock = socket_of(trial.server)
            for _ in range(2):
                self.within("server_close()", trial.server.server_close)
                assert trial.server.fileno() < 0
            assert sock.fileno() < 0, "server_close() leaves the socket open"

    @contextlib.contextmanager
    def _accepted(self, trial: Trial) -> Iterator[tuple[Client, StreamRequest, ClientAddress]]:
        """Yield a client, and its request as get_request() returns it."""
        with self.client(trial) as client:
            request, client_address = self.within("get_request()", trial.servers[0].get_request)
            assert not isinstance(request, tuple), "get_request() returns no connection"
            with contextlib.closing(request):
                yield client, request, client_address

    def _get_datagram(self, trial: Trial) -> tuple[DatagramRequest, tuple[Any, ...] | str | bytes]:
        request, client_address = self.within("get_request()", trial.servers[0].get_request)
        assert isinstance(request, tuple), "get_request() returns no pair of a datagram and a socket"
        assert client_address is not None, "get_request() returns no address to reply to"
        return request, client_address


@contextlib.contextmanager
def _copy(request: StreamRequest) -> Iterator[socket.socket]:
    """Yield a second socket for a connection, such as a forked child has."""
    with socket.socket(fileno=os.dup(request.fileno())) as copy:
        yield copy
