"""TemplateMethodCases: the contract of socketserver's template methods, called one by one."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from plugport_testing.conformance.base import case
from plugport_testing.conformance.clients import Client
from plugport_testing.conformance.server_base import ServerCases
from plugport_testing.conformance.trial import Trial

__all__ = ["TemplateMethodCases"]


class TemplateMethodCases(ServerCases):
    """get_request(), shutdown_request(), close_request(), stop_listening(), server_close(), fileno()."""

    @case(transport="stream")
    def test_get_request(self) -> None:
        """It returns a connection, which blocks, and the client's address."""
        with self.binding() as trial, self._accepted(trial) as (client, request, client_address):
            assert request.gettimeout() is None
            if isinstance(client_address, tuple):
                assert client_address == client.sock.getsockname()
            client.send(b"to")
            assert request.recv(100) == b"to"
            request.sendall(b"fro\n")
            assert client.read_line() == b"fro"

    @case(transport="datagram")
    def test_get_datagram(self) -> None:
        """It returns a datagram, whole, with the socket that answers, and the client's address."""
        with self.binding() as trial, self.client(trial) as client:
            for message in (b"one", b"", b"x" * 9000):
                client.sock.send(message)
                (data, sock), client_address = self.within("get_request()", trial.server.get_request)
                assert data == message
                assert client_address == client.sock.getsockname()
                sock.sendto(b"answer", client_address)
                assert client.sock.recv(100) == b"answer"

    @case(transport="stream")
    def test_shutdown_request(self) -> None:
        """The client gets the end of the stream, although a forked child has a copy of the connection."""
        with self.binding() as trial, self._accepted(trial) as (client, request, _), _copy(request):
            request.sendall(b"goodbye\n")
            trial.server.shutdown_request(request)
            assert request.fileno() < 0, "shutdown_request() does not close the connection"
            assert client.read_all() == b"goodbye\n"

    @case(transport="stream")
    def test_close_request(self) -> None:
        """It closes the connection in this process, and in no other: a forked child goes on with it."""
        with (
            self.binding() as trial,
            self._accepted(trial) as (client, request, _),
            _copy(request) as copy,
        ):
            trial.server.close_request(request)
            assert request.fileno() < 0, "close_request() does not close the connection"
            copy.sendall(b"still here\n")
            assert client.read_line() == b"still here", "close_request() ends the connection for all"

    @case(transport="datagram")
    def test_close_datagram(self) -> None:
        """shutdown_request() and close_request() of a datagram leave the server's socket alone."""
        with self.binding() as trial, self.client(trial) as client:
            for end in (trial.server.close_request, trial.server.shutdown_request):
                client.sock.send(b"hello")
                request, client_address = self.within("get_request()", trial.server.get_request)
                end(request)
                request[1].sendto(b"answer", client_address)
                assert client.sock.recv(100) == b"answer"

    @case(transport="stream")
    def test_stop_listening(self) -> None:
        """It takes no more connections, and leaves those at hand alone."""
        with self.binding() as trial, self._accepted(trial) as (client, request, _):
            trial.server.stop_listening()
            assert trial.server.fileno() < 0, "it still has a socket to accept from"
            self.assert_refused(trial)
            request.sendall(b"still here\n")
            assert client.read_line() == b"still here"

    @case(transport="datagram")
    def test_stop_listening_to_datagrams(self) -> None:
        """It keeps the socket, through which the answers leave."""
        with self.binding() as trial, self.client(trial) as client:
            client.sock.send(b"hello")
            (_, sock), client_address = self.within("get_request()", trial.server.get_request)
            trial.server.stop_listening()
            sock.sendto(b"answer", client_address)
            assert client.sock.recv(100) == b"answer"

    def test_server_close(self) -> None:
        """It releases the socket; fileno() is negative then, and it may be called again."""
        with self.binding() as trial:
            sock = trial.server.socket
            for _ in range(2):
                self.within("server_close()", trial.server.server_close)
                assert trial.server.fileno() < 0
            assert sock.fileno() < 0, "the socket is open"

    @contextlib.contextmanager
    def _accepted(self, trial: Trial) -> Iterator[tuple[Client, Any, Any]]:
        """A client, and its request as get_request() returns it."""
        with self.client(trial) as client:
            request, client_address = self.within("get_request()", trial.server.get_request)
            with contextlib.closing(request):
                yield client, request, client_address


@contextlib.contextmanager
def _copy(request: Any) -> Iterator[socket.socket]:
    """A second socket for a connection, as a forked child has one."""
    with socket.socket(fileno=os.dup(request.fileno())) as copy:
        yield copy
