"""Sockets handed over to services: by systemd's own tool, by inetd, by a parent; and what is no socket."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients import correspondent, is_closed, read_all
from command import error_of, plugport, serving
from environments import Process
from patience import PATIENCE, wait_until

WHO = Path(__file__).with_name("whois.py")
PLUGPORT = [sys.executable, "-m", "plugport"]


@contextlib.contextmanager
def bound(
    kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET, address: Any = None
) -> Iterator[socket.socket]:
    """A socket that is bound, and listens if it can."""
    with socket.socket(family, kind) as sock:
        sock.bind(address or ("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        yield sock


def ask(address: Any, question: bytes, family: int = socket.AF_INET) -> bytes:
    with socket.socket(family) as client:
        client.settimeout(PATIENCE)
        client.connect(address)
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


# A parent hands them over ---------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["sync", "threading", "forking", "select", "asyncio"])
def test_a_drain_leaves_the_socket_to_whoever_has_it(tmp_path: Path, strategy: str) -> None:
    with bound() as sock:
        fd, address = sock.fileno(), sock.getsockname()
        arguments = ["echo", f"fd://{fd}", "-c", strategy]
        with serving(tmp_path, *arguments, pass_fds=[fd]) as service:
            assert service.urls == ["tcp://{}:{}".format(*address)]
            assert ask(address, b"hello") == b"hello"
        # It has ended: who comes now is served by the next one.
        with socket.create_connection(address, PATIENCE) as client:
            client.sendall(b"early")
            with serving(tmp_path, *arguments, pass_fds=[fd]):
                assert client.recv(10) == b"early"
                client.shutdown(socket.SHUT_RDWR)


def test_the_file_of_a_unix_socket_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with bound(family=socket.AF_UNIX, address=path) as sock:
        arguments = ["echo", f"fd://{sock.fileno()}"]
        service = Process([*PLUGPORT, "serve", *arguments], tmp_path / "log", pass_fds=[sock.fileno()])
        service.wait_for(f"listening on unix://{path}")
        assert ask(path, b"hello", socket.AF_UNIX) == b"hello"
        assert service.stop() == 0
        assert os.path.exists(path)


def test_several_of_any_family(tmp_path: Path) -> None:
    path = str(tmp_path / "datagrams")
    with (
        bound(family=socket.AF_INET6, address=("::1", 0)) as stream,
        bound(socket.SOCK_DGRAM) as datagram,
        bound(socket.SOCK_DGRAM, socket.AF_UNIX, path) as unixgram,
    ):
        fds = [sock.fileno() for sock in (stream, datagram, unixgram)]
        urls = [f"fd://{fds[0]}", *(f"fdgram://{fd}" for fd in fds[1:])]
        service = Process([*PLUGPORT, "serve", "echo", *urls], tmp_path / "log", pass_fds=fds)
        try:
            service.wait_for(
                "(?s)listening on tcp://\\[::1\\]:.*listening on udp://.*listening on unixgram://"
            )
            assert ask(stream.getsockname(), b"hello", socket.AF_INET6) == b"hello"
            for sock in (datagram, unixgram):
                with correspondent(sock.family, sock.getsockname(), tmp_path / "peer") as client:
                    client.send(b"hello")
                    assert client.recv(10) == b"hello"
        finally:
            assert service.stop() == 0


def test_a_child_process_inherits_nothing(tmp_path: Path) -> None:
    tell, start = tmp_path / "tell.py", tmp_path / "start.py"
    tell.write_text(
        "import os\n"
        "print(len(os.listdir('/proc/self/fd')), sum(name.startswith('LISTEN_') for name in os.environ))\n"
    )
    start.write_text(
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1', 'LISTEN_FDNAMES': 'web'}\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])\n"
    )
    argv = shlex.join([sys.executable, "-S", str(tell)])
    with bound() as sock:
        fd = sock.fileno()
        _, *command = [*PLUGPORT, "serve", "exec", "fd://web", "-o", f"argv={argv}"]
        service = Process([sys.executable, start, str(fd), *command], tmp_path / "log", pass_fds=[fd])
        try:
            service.wait_for("listening on tcp://")
            count, variables = ask(sock.getsockname(), b"").split()
            assert variables == b"0"
            assert int(count) <= 4  # its standard streams, and that of the listing
        finally:
            assert service.stop() == 0


@pytest.mark.parametrize("strategy", ["sync", "threading", "forking"])
def test_it_ends_when_it_is_idle_and_is_started_again(tmp_path: Path, strategy: str) -> None:
    with bound() as sock:
        arguments = ["serve", "echo", f"fd://{sock.fileno()}", "-c", strategy, "-o", "exit_idle=0.3"]
        for _ in range(2):
            service = Process([*PLUGPORT, *arguments], tmp_path / "log", pass_fds=[sock.fileno()])
            with socket.create_connection(sock.getsockname(), PATIENCE) as client:
                client.sendall(b"hello")
                assert client.recv(5) == b"hello"
                time.sleep(0.6)  # what is active is not idle
                client.sendall(b"again")
                assert client.recv(5) == b"again"
            assert service.end() == 0


@pytest.mark.parametrize("strategy", ["threading", "thread-pool", "forking", "select", "asyncio"])
def test_it_ends_when_it_is_idle_on_all_its_sockets(tmp_path: Path, strategy: str) -> None:
    with bound() as one, bound() as other:
        fds = [one.fileno(), other.fileno()]
        arguments = ["serve", "echo", *(f"fd://{fd}" for fd in fds), "-c", strategy, "-o", "exit_idle=0.5"]
        service = Process([*PLUGPORT, *arguments], tmp_path / "log", pass_fds=fds)
        with socket.create_connection(one.getsockname(), PATIENCE) as client:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
            time.sleep(1.0)
            assert ask(other.getsockname(), b"hello") == b"hello"
        assert service.end() == 0


def test_behind_a_proxy(tmp_path: Path) -> None:
    with bound() as sock:
        fd = sock.fileno()
        arguments = [f"{WHO}:BlockingWho", f"fd://{fd}", "-o", "proxy_protocol=true"]
        assert "no proxy is trusted" in error_of(plugport(tmp_path, "serve", *arguments, pass_fds=[fd]))
        with serving(tmp_path, *arguments, "-o", "proxy_trusted=127.0.0.1", pass_fds=[fd]):
            header = b"PROXY TCP4 203.0.113.7 127.0.0.1 50123 443\r\n"
            assert ask(sock.getsockname(), header + b"hello\n") == b"('203.0.113.7', 50123) hello\n"


# One connection, and no more ------------------------------------------------------------------


@contextlib.contextmanager
def for_one(folder: Path, *arguments: str) -> Iterator[tuple[socket.socket, Process]]:
    """A service whose standard streams are all a connection, as inetd's nowait has it; its client's end."""
    with bound() as listening, socket.create_connection(listening.getsockname(), PATIENCE) as client:
        connection, _ = listening.accept()
        command = [*PLUGPORT, "serve", *arguments]
        with connection:
            process = subprocess.Popen(
                command, stdin=connection, stdout=connection, stderr=connection, cwd=folder
            )
        try:
            yield client, process
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("strategy", ["sync", "threading", "thread-pool", "forking", "select", "asyncio"])
def test_one_connection(tmp_path: Path, strategy: str) -> None:
    with for_one(tmp_path, "echo", "fd://0", "-c", strategy) as (client, process):
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
        assert process.poll() is None
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""


def test_a_server_that_speaks_first(tmp_path: Path) -> None:
    with for_one(tmp_path, "daytime", "fd://0", "--access-log") as (client, _):
        assert re.fullmatch(rb"\w+, [^\n]*\r\n", read_all(client))


def test_one_connection_that_is_turned_away(tmp_path: Path) -> None:
    options = ["-o", "proxy_protocol=true", "-o", "proxy_trusted=127.0.0.1"]
    with for_one(tmp_path, "echo", "fd://0", *options) as (client, _):
        client.sendall(b"no header\n")
        assert is_closed(client)


def test_one_connection_as_any_descriptor(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(PATIENCE)
        fd = theirs.fileno()
        service = Process([*PLUGPORT, "serve", "echo", f"fd://{fd}"], tmp_path / "log", pass_fds=[fd])
        theirs.close()
        ours.sendall(b"hello")
        assert ours.recv(100) == b"hello"
        ours.shutdown(socket.SHUT_WR)
        assert read_all(ours) == b""
        assert service.end() == 0


def test_one_connection_is_drained_as_any(tmp_path: Path) -> None:
    with for_one(tmp_path, "echo", "fd://0") as (client, process):
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
        process.send_signal(signal.SIGTERM)
        client.sendall(b"still there?")
        assert client.recv(100) == b"still there?"
        client.close()


# systemd --------------------------------------------------------------------------------------


@contextlib.contextmanager
def activated(
    folder: Path, *arguments: str, names: str = "", datagrams: bool = False, count: int = 1
) -> Iterator[list[Any]]:
    """systemd-socket-activate before a service: yields the addresses."""
    with contextlib.ExitStack() as stack:
        kind = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
        sockets = [stack.enter_context(bound(kind)) for _ in range(count)]
        addresses = [sock.getsockname() for sock in sockets]
    command: list[str] = ["systemd-socket-activate", *(["-d"] if datagrams else [])]
    for host, port in addresses:
        command += ["-l", f"{host}:{port}"]
    if names:
        command += [f"--fdname={names}"]
    passed = [f"--setenv={name}" for name in os.environ if name.startswith(("PYTHON", "PLUGPORT_"))]
    process = Process([*command, *passed, *PLUGPORT, "serve", *arguments], folder / "log", cwd=folder)
    try:
        process.wait_for(f"(?s)(?:Listening on .*?){{{count}}}")
        yield addresses
    finally:
        status = process.stop()
    assert status == 0, process.output


@pytest.mark.tools("systemd-socket-activate")
def test_activated_by_number(tmp_path: Path) -> None:
    with activated(tmp_path, "echo", "fd://3") as [address]:
        assert ask(address, b"hello") == b"hello"
        assert ask(address, b"again") == b"again"


@pytest.mark.tools("systemd-socket-activate")
def test_activated_by_name(tmp_path: Path) -> None:
    arguments = ["echo", "fd://first", "fd://second", "-c", "asyncio"]
    with activated(tmp_path, *arguments, names="first:second", count=2) as addresses:
        for address in addresses:
            assert ask(address, b"hello") == b"hello"


@pytest.mark.tools("systemd-socket-activate")
def test_activated_by_a_datagram(tmp_path: Path) -> None:
    with (
        activated(tmp_path, "echo", "fdgram://3", datagrams=True) as [address],
        correspondent(socket.AF_INET, address, tmp_path / "peer") as client,
    ):
        client.send(b"hello")
        assert client.recv(10) == b"hello"


# inetd ----------------------------------------------------------------------------------------

XINETD = """
service plugport
{{
    type = UNLISTED
    socket_type = {kind}
    protocol = {protocol}
    bind = 127.0.0.1
    port = {port}
    wait = {wait}
    user = {user}
    server = {server}
    server_args = {arguments}
    passenv = PATH
}}
"""


@contextlib.contextmanager
def inetd(folder: Path, *arguments: str, wait: bool, kind: int = socket.SOCK_STREAM) -> Iterator[Any]:
    """xinetd with a service; yields where it listens."""
    with bound(kind) as probe:
        address = probe.getsockname()
    config = folder / "xinetd.conf"
    config.write_text(
        XINETD.format(
            kind="dgram" if kind == socket.SOCK_DGRAM else "stream",
            protocol="udp" if kind == socket.SOCK_DGRAM else "tcp",
            port=address[1],
            wait="yes" if wait else "no",
            user=os.environ.get("USER", "root"),
            server=Path(sys.executable).with_name("plugport"),
            arguments=" ".join(["serve", *arguments]),
        )
    )
    command = ["/usr/sbin/xinetd", "-dontfork", "-stayalive", "-f", config, "-pidfile", folder / "pid"]
    process = Process(command, folder / "xinetd.log")
    try:
        wait_until(lambda: _is_bound(address, kind), what="xinetd")
        yield address
    finally:
        process.stop()


def _is_bound(address: Any, kind: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(address)
        except OSError:
            return True
    return False


@pytest.mark.tools("xinetd")
def test_inetd_nowait(tmp_path: Path) -> None:
    with inetd(tmp_path, "echo", "fd://0", "-c", "sync", wait=False) as address:
        for _ in range(2):
            assert ask(address, b"hello") == b"hello"


@pytest.mark.tools("xinetd")
def test_inetd_wait(tmp_path: Path) -> None:
    arguments = ["echo", "fd://0", "-o", "exit_idle=0.2"]
    with inetd(tmp_path, *arguments, wait=True) as address:
        for _ in range(2):
            assert ask(address, b"hello") == b"hello"
            assert ask(address, b"again") == b"again"
            time.sleep(0.5)  # it ends meanwhile, and the next one starts it again


@pytest.mark.tools("xinetd")
def test_inetd_wait_of_datagrams(tmp_path: Path) -> None:
    arguments = ["echo", "fdgram://0", "-o", "exit_idle=0.2"]
    with inetd(tmp_path, *arguments, wait=True, kind=socket.SOCK_DGRAM) as address:
        for _ in range(2):
            with correspondent(socket.AF_INET, address, tmp_path / "peer") as client:
                client.send(b"hello")
                assert client.recv(10) == b"hello"
            time.sleep(0.5)


# What can't be served -------------------------------------------------------------------------


def test_what_can_not_be_served_is_one_line(tmp_path: Path) -> None:
    def refused(url: str, env: dict[str, str] | None = None) -> str:
        return error_of(plugport(tmp_path, "serve", "echo", url, env=env))

    assert "descriptor 0 is not a socket" in refused("fd://0")
    env = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    assert "LISTEN_PID names process 1" in refused("fd://web", env)
