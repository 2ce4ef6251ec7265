"""Servers on sockets that were handed over: which they take, and what they say of others."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from patience import Call

from plugport import compose
from plugport.errors import AddressError, ListenError
from plugport.handlers.base import BaseRequestHandler
from plugport.serving.url import parse_url
from plugport_builtins.servers import descriptors
from plugport_builtins.servers.fd import FdgramServer, FdServer


@pytest.fixture(autouse=True)
def fresh(no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing was handed over to this process."""
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        monkeypatch.delenv(name, raising=False)
    descriptors.handed_over.cache_clear()
    yield
    descriptors.handed_over.cache_clear()


@pytest.fixture
def stream() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


@pytest.fixture
def datagram() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def refusal(url: str) -> str:
    """What is said of *url*."""
    server: Any = FdgramServer if url.startswith("fdgram") else FdServer
    with pytest.raises(AddressError) as error:
        server.resolve_url(parse_url(url))
    told = str(error.value)
    assert told.startswith(url)
    assert "\n" not in told
    return told


def test_what_is_no_descriptor() -> None:
    assert "there is no descriptor 999; systemd has handed over none" in refusal("fd://999")
    assert "there is no descriptor 99999999999999999999;" in refusal("fd://99999999999999999999")
    assert "no descriptor; write fdgram://3 or fdgram://NAME" in refusal("fdgram://")
    assert "no descriptor is named '-1'" in refusal("fd://-1")
    with open(os.devnull) as file:
        assert f"descriptor {file.fileno()} is not a socket" in refusal(f"fd://{file.fileno()}")


def test_what_is_another_kind_of_socket(stream: socket.socket, datagram: socket.socket) -> None:
    one, other = stream.fileno(), datagram.fileno()
    assert f"the socket is one of datagrams; use fdgram://{other}" in refusal(f"fd://{other}")
    assert f"the socket is one of connections; use fd://{one}" in refusal(f"fdgram://{one}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as packets:
        assert "not one of TCP, of UDP" in refusal(f"fd://{packets.fileno()}")
    with socket.socket() as deaf:
        assert "neither listens nor is connected; listen() before" in refusal(f"fd://{deaf.fileno()}")


def test_a_descriptor_that_is_there_twice(stream: socket.socket) -> None:
    fd = os.dup(stream.fileno())
    with FdServer(fd, BaseRequestHandler) as server:
        assert server.server_address == stream.getsockname()
        with pytest.raises(ListenError, match=f"descriptor {fd} is given twice"):
            FdServer(fd, BaseRequestHandler)
    assert not server.fileno() >= 0


def test_closing_it_leaves_the_socket(stream: socket.socket) -> None:
    with FdServer(os.dup(stream.fileno()), BaseRequestHandler):
        pass
    with socket.create_connection(stream.getsockname()):
        pass


def test_a_connection_that_is_never_taken_is_closed() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with FdServer(theirs.detach(), BaseRequestHandler):
            pass
        assert ours.recv(1) == b""


@pytest.mark.parametrize("strategy", ["sync", "threading", "forking", "select"])
def test_the_server_of_a_connection_ends_with_it_and_waits_for_no_poll(strategy: str) -> None:
    def handler(request: socket.socket, client_address: object, server: object) -> None:
        request.sendall(b"hello")

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
    with client, compose(FdServer, strategy)(accepted.detach(), handler) as server:
        Call(server.serve_forever, 1000.0).result()
        assert client.recv(100) == b"hello"


@pytest.fixture
def hand_over(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_variables(*names: str, pid: str = "", count: str = "") -> None:
        monkeypatch.setenv("LISTEN_PID", pid or str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", count or str(len(names)))
        monkeypatch.setenv("LISTEN_FDNAMES", ":".join(names))
        monkeypatch.setattr(os, "set_inheritable", lambda fd, inheritable: given.append((fd, inheritable)))

    given: list[tuple[int, bool]] = []
    set_variables.given = given  # type: ignore[attr-defined]
    return set_variables


def test_names(hand_over: Any) -> None:
    hand_over("web", "admin", "web")
    assert refusal("fd://wed").endswith(
        "no descriptor is named 'wed'; systemd has handed over 3 (web), 5 (web), 4 (admin)"
    )
    assert "2 descriptors are named 'web'; write one of fd://3 fd://5" in refusal("fd://web")
    assert not [name for name in os.environ if name.startswith("LISTEN_")]
    assert hand_over.given == [(3, False), (4, False), (5, False)]


def test_without_a_name_it_is_unknown(hand_over: Any) -> None:
    hand_over("web", count="2")
    assert "handed over 3 (web), 4 (unknown)" in refusal("fd://x")


def test_what_was_not_meant_for_this_process(hand_over: Any) -> None:
    hand_over("web", pid="1")
    told = refusal("fd://web")
    assert f"LISTEN_PID names process 1, and this is {os.getpid()}: start" in told
    assert not hand_over.given


def test_a_number_that_is_none(hand_over: Any) -> None:
    hand_over(count="many")
    assert "LISTEN_FDS = 'many' is not a number" in refusal("fd://web")
