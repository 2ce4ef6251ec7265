"""The defects of the standard library's socketserver that the drop-in mends.

Each test passes on plugport_builtins.socketserver and fails on the standard module. The last one
sees to the second half, by running this file with PLUGPORT_TEST_SOCKETSERVER=socketserver.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from certificates import authority
from clients import ask, connect, datagram_client, dial, is_closed, read_all
from patience import Call, wait_until, within

LOCALHOST = ("127.0.0.1", 0)
SWITCH = "PLUGPORT_TEST_SOCKETSERVER"


@pytest.fixture(scope="module")
def socketserver() -> ModuleType:
    """The module under test."""
    return importlib.import_module(os.environ.get(SWITCH, "plugport_builtins.socketserver"))


class Echo:
    """Sends back what comes, until the end of the stream."""

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        while data := request.recv(65536):
            request.sendall(data)


class Pid:
    """Sends the pid of the process that it runs in, and stays until the client goes."""

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        request.sendall(str(os.getpid()).encode())
        request.recv(1)


class Late:
    """Answers a datagram when it is released."""

    started = threading.Event()
    released = threading.Event()

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        self.started.set()
        self.released.wait()
        request[1].sendto(request[0].upper(), client_address)


# Closing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ThreadingUDPServer", "ThreadingUnixDatagramServer"])
def test_replies_under_way_are_sent_before_the_socket_closes(
    socketserver: ModuleType, serve: Callable[..., Call], tmp_path: Path, name: str
) -> None:
    Late.started, Late.released = threading.Event(), threading.Event()
    address = str(tmp_path / "server") if "Unix" in name else LOCALHOST
    server = getattr(socketserver, name)(address, Late)
    serve(server)
    with datagram_client(server, tmp_path) as client:
        client.send(b"hello")
        try:
            assert Late.started.wait(5)
            within(5, server.shutdown)
            closing = Call(server.server_close)
            closing.join(0.2)
            assert closing.is_alive()
        finally:
            Late.released.set()
        assert client.recv(100) == b"HELLO"
        closing.result()


def test_server_close_after_a_thread_that_could_not_be_started(
    socketserver: ModuleType, closing: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    server = closing(socketserver.ThreadingTCPServer(LOCALHOST, Echo))
    with connect(server) as client:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            server.handle_request()
        assert is_closed(client)
    server.server_close()


# Accepting ------------------------------------------------------------------------------------

OUT_OF_DESCRIPTORS = """
import contextlib, importlib, json, os, resource, socket, sys, threading, time

socketserver = importlib.import_module(sys.argv[1])

class Server(socketserver.ThreadingTCPServer):
    attempts = 0

    def get_request(self):
        self.attempts += 1
        return super().get_request()

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline())

def observe(server, seconds, enough):
    # The attempts that a server makes within that time, or enough of them.
    deadline = time.monotonic() + seconds
    while server.attempts < enough and time.monotonic() < deadline:
        time.sleep(0.01)
    return server.attempts

with Server(("127.0.0.1", 0), Echo) as server:
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    client = socket.create_connection(server.server_address, timeout=10)
    client.sendall(b"one\\n")
    before = client.recv(100)
    while threading.active_count() > 2:  # its thread is about to set a descriptor free
        time.sleep(0.01)
    waiting = socket.socket()
    waiting.settimeout(10)
    server.attempts = 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))
    waiting.connect(server.server_address)
    waiting.sendall(b"two\\n")
    attempts = observe(server, 1.0, 1000)
    for fd in taken:
        os.close(fd)
    after = waiting.recv(100)
    server.shutdown()
    client.close()
    waiting.close()
print(json.dumps({"attempts": attempts, "before": before.decode(), "after": after.decode()}))
"""


def test_no_busy_loop_while_descriptors_are_short(socketserver: ModuleType) -> None:
    run = subprocess.run(
        [sys.executable, "-c", OUT_OF_DESCRIPTORS, socketserver.__name__],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert (seen["before"], seen["after"]) == ("one\n", "two\n")
    assert 1 <= seen["attempts"] <= 20


# Children -------------------------------------------------------------------------------------


def test_exit_status_of_other_children_is_left_alone(
    socketserver: ModuleType, serve: Callable[..., Call]
) -> None:
    class Server(socketserver.ForkingTCPServer):  # type: ignore[name-defined,misc]
        max_children = 1

    with subprocess.Popen(["/bin/sh", "-c", "exit 7"]) as other:
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        server = Server(LOCALHOST, Pid)
        serve(server)
        for _ in range(2):  # reaches max_children, and comes back from there
            assert ask(server, b"").isdigit()
        assert other.wait() == 7


def test_shutdown_while_max_children_are_at_work(
    socketserver: ModuleType, serve: Callable[..., Call]
) -> None:
    class Server(socketserver.ForkingTCPServer):  # type: ignore[name-defined,misc]
        max_children = 1

    server = Server(LOCALHOST, Pid)
    serving = serve(server)
    with connect(server) as client:
        assert client.recv(100).isdigit()
        within(2, server.shutdown)
        serving.result()


def test_no_zombies_when_only_handle_request_is_used(
    socketserver: ModuleType, closing: Callable[[Any], Any]
) -> None:
    server = closing(socketserver.ForkingTCPServer(LOCALHOST, Pid))
    pids = []
    for _ in range(4):
        with connect(server) as client:
            within(5, server.handle_request)
            pids.append(int(client.recv(100)))
            client.shutdown(socket.SHUT_WR)
            assert is_closed(client)
        wait_until(lambda: has_exited(pids[-1]))
    assert [pid for pid in pids[:-1] if is_there(pid)] == []


def has_exited(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return True


def is_there(pid: int) -> bool:
    """Whether there is a process of that pid, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# Shutting down --------------------------------------------------------------------------------


def test_shutdown_does_not_wait_for_the_next_poll(
    socketserver: ModuleType, serve: Callable[..., Call]
) -> None:
    acted = threading.Event()

    class Server(socketserver.TCPServer):  # type: ignore[name-defined,misc]
        def service_actions(self) -> None:
            acted.set()

    server = Server(LOCALHOST, Echo)
    serve(server, poll_interval=4)
    assert ask(server, b"hello") == b"hello"
    assert acted.wait(5)
    time.sleep(0.2)  # The request is done with: now it polls again.
    start = time.monotonic()
    within(10, server.shutdown)
    assert time.monotonic() - start < 2


def test_shutdown_by_a_handler_of_a_synchronous_server(
    socketserver: ModuleType, serve: Callable[..., Call]
) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        server.shutdown()
        request.sendall(b"bye")

    server = socketserver.TCPServer(LOCALHOST, handler)
    serving = serve(server)
    with connect(server, timeout=2) as client:
        assert client.recv(100) == b"bye"
    serving.result()


def test_shutdown_of_a_server_that_never_served(
    socketserver: ModuleType, closing: Callable[[Any], Any]
) -> None:
    server = closing(socketserver.TCPServer(LOCALHOST, Echo))
    within(2, server.shutdown)


# TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost, in one file."""
    return authority().write(tmp_path_factory.mktemp("tls") / "localhost.pem")


@pytest.fixture
def tls_server(socketserver: ModuleType, serve: Callable[..., Call], certificate: Path) -> Any:
    """A threading server whose listening socket is wrapped in TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = socketserver.ThreadingTCPServer(LOCALHOST, Echo)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    serve(server)
    return server


@pytest.fixture
def silent_client(tls_server: Any) -> Iterator[socket.socket]:
    """A client that connects to the TLS server and says nothing."""
    with dial(socket.AF_INET, socket.SOCK_STREAM, tls_server.server_address) as client:
        yield client


def test_a_silent_tls_client_does_not_hold_up_others(
    tls_server: Any, silent_client: socket.socket, certificate: Path
) -> None:
    context = authority().client()
    with (
        dial(socket.AF_INET, socket.SOCK_STREAM, tls_server.server_address, timeout=2) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"


def test_a_silent_tls_client_does_not_hold_up_shutdown(tls_server: Any, silent_client: socket.socket) -> None:
    # The server takes connections in their order: when this one is refused, the silent one is in.
    with dial(socket.AF_INET, socket.SOCK_STREAM, tls_server.server_address, timeout=2) as plain:
        plain.sendall(b"this is not TLS\n")
        try:
            read_all(plain)  # an alert and the end
        except ConnectionResetError:
            pass
        except TimeoutError:
            pass  # the silent one holds up this one already
    within(2, tls_server.shutdown)


# Unix paths -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["UnixStreamServer", "UnixDatagramServer"])
def test_a_stale_unix_path_is_replaced(
    socketserver: ModuleType, closing: Callable[[Any], Any], tmp_path: Path, name: str
) -> None:
    server_class = getattr(socketserver, name)
    path = str(tmp_path / "server")
    with socket.socket(socket.AF_UNIX, server_class.socket_type) as crashed:
        crashed.bind(path)
    server = closing(server_class(path, Echo))
    assert server.server_address == path


@pytest.mark.parametrize("name", ["UnixStreamServer", "UnixDatagramServer"])
def test_no_unix_path_is_left_to_become_stale(socketserver: ModuleType, tmp_path: Path, name: str) -> None:
    path = tmp_path / "server"
    with getattr(socketserver, name)(str(path), Echo):
        assert path.is_socket()
    assert not path.exists()


# Datagrams ------------------------------------------------------------------------------------


@pytest.fixture
def datagrams() -> list[bytes]:
    return []


def test_a_large_datagram_is_delivered_whole(
    socketserver: ModuleType, closing: Callable[[Any], Any], datagrams: list[bytes], tmp_path: Path
) -> None:
    server = closing(socketserver.UDPServer(LOCALHOST, lambda request, *_: datagrams.append(request[0])))
    with datagram_client(server, tmp_path) as client:
        client.send(b"x" * 20_000)
        within(5, server.handle_request)
    assert [len(datagram) for datagram in datagrams] == [20_000]


def test_a_datagram_that_is_too_long_is_an_error_of_its_own(
    socketserver: ModuleType,
    closing: Callable[[Any], Any],
    datagrams: list[bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Server(socketserver.UDPServer):  # type: ignore[name-defined,misc]
        max_packet_size = 100

    server = closing(Server(LOCALHOST, lambda request, *_: datagrams.append(request[0])))
    with datagram_client(server, tmp_path) as client:
        for size in 101, 100:
            client.send(b"x" * size)
            within(5, server.handle_request)
    assert [len(datagram) for datagram in datagrams] == [100]
    assert "max_packet_size = 100" in capsys.readouterr().err


# The standard module --------------------------------------------------------------------------


@pytest.mark.slow
def test_the_standard_module_has_every_one_of_these_defects(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    command = (
        f"-m pytest -n0 -q -W ignore -p no:threadexception -p no:unraisableexception --junit-xml={report}"
    )
    subprocess.run(
        [sys.executable, *command.split(), __file__, "-k", "not test_the_standard_module_has_every"],
        env={**os.environ, SWITCH: "socketserver", "PLUGPORT_TEST_PATIENCE": "1", "PYTEST_ADDOPTS": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        timeout=300,
    )
    cases = xml.etree.ElementTree.parse(report).findall(".//testcase")
    tried = {case.get("name") for case in cases}
    failed = {case.get("name") for case in cases if case.find("failure") is not None}
    assert len(tried) >= 16
    assert tried - failed == set()
