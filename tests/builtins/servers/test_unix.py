"""The care that servers on unix sockets take of the socket file."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clients import ask, connect, datagram_client
from patience import Call, within

from plugport.handlers.base import DatagramRequestHandler, StreamRequestHandler
from plugport_builtins.servers.unix import UnixDatagramServer, UnixStreamServer

pytestmark = pytest.mark.usefixtures("no_leaks")

SERVERS = [UnixStreamServer, UnixDatagramServer]
IN_USE = re.escape(os.strerror(errno.EADDRINUSE))


class Line(StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline().upper())


class Upper(DatagramRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.packet.upper())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server"


@pytest.fixture
def umask() -> Iterator[None]:
    """Files of this test may be read and written by anyone."""
    before = os.umask(0)
    yield
    os.umask(before)


def make(server_class: Any, address: Any, **members: Any) -> Any:
    handler = Line if server_class.is_stream() else Upper
    return type(server_class.__name__, (server_class,), members)(address, handler)


def answers(server: Any, tmp_path: Path) -> bool:
    """Whether a client is served."""
    if server.is_stream():
        return ask(server, b"hello\n") == b"HELLO\n"
    with datagram_client(server, tmp_path) as client:
        client.send(b"hello")
        return client.recv(100) == b"HELLO"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def leave_stale(path: Path, kind: int) -> None:
    """A socket file as a server that crashed leaves it."""
    with socket.socket(socket.AF_UNIX, kind) as crashed:
        crashed.bind(str(path))


# At the beginning -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("server_class", SERVERS)
def test_stale_file_is_replaced(
    serve: Callable[..., Call], path: Path, server_class: type, kind: socket.SocketKind
) -> None:
    leave_stale(path, kind)
    server = make(server_class, str(path))
    serve(server)
    assert answers(server, path.parent)


@pytest.mark.parametrize("server_class", SERVERS)
@pytest.mark.parametrize("content", [b"", b"precious"])
def test_regular_file_stays(path: Path, server_class: type, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(OSError, match=IN_USE):
        make(server_class, str(path))
    assert path.read_bytes() == content


@pytest.mark.parametrize("server_class", SERVERS)
def test_link_to_a_stale_file_stays(path: Path, tmp_path: Path, server_class: Any) -> None:
    target = tmp_path / "target"
    leave_stale(target, server_class.socket_type)
    path.symlink_to(target)
    with pytest.raises(OSError, match=IN_USE):
        make(server_class, str(path))
    assert path.is_symlink()
    assert target.is_socket()
    target.unlink()
    path.unlink()


@pytest.mark.parametrize("server_class", SERVERS)
@pytest.mark.parametrize("other_class", SERVERS)
def test_live_socket_stays(
    serve: Callable[..., Call], path: Path, server_class: type, other_class: type
) -> None:
    other = make(other_class, str(path))
    serve(other)
    with pytest.raises(OSError, match=IN_USE):
        make(server_class, str(path))
    assert answers(other, path.parent)


def test_live_socket_with_a_full_backlog_stays(closing: Callable[[Any], Any], path: Path) -> None:
    busy = closing(make(UnixStreamServer, str(path), request_queue_size=0))
    with connect(busy):
        with pytest.raises(OSError, match=IN_USE):
            within(5, make, UnixStreamServer, str(path))
        assert path.is_socket()


def test_live_datagram_socket_with_a_peer_stays(path: Path, tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as live,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer,
    ):
        live.bind(str(path))
        peer.bind(str(tmp_path / "peer"))
        live.connect(str(tmp_path / "peer"))  # so that others can't send to it
        with pytest.raises(OSError, match=IN_USE):
            make(UnixDatagramServer, str(path))
        assert path.is_socket()
    path.unlink()
    (tmp_path / "peer").unlink()


@pytest.mark.parametrize("server_class", SERVERS)
def test_folder_that_is_not_there(path: Path, server_class: type) -> None:
    with pytest.raises(FileNotFoundError):
        make(server_class, str(path / "nowhere"))


@pytest.mark.parametrize("server_class", SERVERS)
def test_file_is_removed_when_the_constructor_fails(path: Path, server_class: type) -> None:
    def server_activate(self: Any) -> None:
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        make(server_class, str(path), server_activate=server_activate)
    assert not path.exists()


# At the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("server_class", SERVERS)
def test_file_is_removed_on_close(path: Path, server_class: type) -> None:
    server = make(server_class, str(path))
    assert server.server_address == str(path)
    assert path.is_socket()
    for _ in range(2):
        server.server_close()
        assert not path.exists()


def test_file_is_removed_when_it_stops_listening(closing: Callable[[Any], Any], path: Path) -> None:
    server = closing(make(UnixStreamServer, str(path)))
    server.stop_listening()
    assert not path.exists()


@pytest.mark.parametrize("server_class", SERVERS)
def test_relative_path_after_a_change_of_directory(
    path: Path, server_class: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    server = make(server_class, path.name)
    monkeypatch.chdir("/")
    server.server_close()
    assert not path.exists()


@pytest.mark.parametrize("server_class", SERVERS)
def test_file_that_has_gone_already(path: Path, server_class: type) -> None:
    server = make(server_class, str(path))
    path.unlink()
    server.server_close()


@pytest.mark.parametrize("server_class", SERVERS)
@pytest.mark.parametrize("successor", ["socket", "file"])
def test_file_of_a_successor_stays(path: Path, server_class: Any, successor: str) -> None:
    server = make(server_class, str(path))
    path.unlink()
    if successor == "file":
        path.touch()
    else:
        leave_stale(path, server_class.socket_type)
    server.server_close()
    assert path.exists()
    path.unlink()


@pytest.mark.parametrize("server_class", SERVERS)
def test_forked_child_leaves_the_file(serve: Callable[..., Call], path: Path, server_class: type) -> None:
    server = make(server_class, str(path))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            server.server_close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert path.is_socket()
    serve(server)
    assert answers(server, path.parent)


# Names and modes ------------------------------------------------------------------------------


@pytest.mark.parametrize("server_class", SERVERS)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_abstract_name(
    serve: Callable[..., Call], tmp_path: Path, server_class: type, as_bytes: bool
) -> None:
    name = f"\0plugport-{os.getpid()}-{server_class.__name__}"
    server = make(server_class, name.encode() if as_bytes else name, socket_mode=0o600)
    serve(server)
    assert server.server_address == name.encode()
    assert answers(server, tmp_path)
    with pytest.raises(OSError, match=IN_USE):
        make(server_class, name)


@pytest.mark.parametrize("server_class", SERVERS)
def test_name_that_the_system_chooses(serve: Callable[..., Call], tmp_path: Path, server_class: type) -> None:
    server = make(server_class, "")
    serve(server)
    assert server.server_address.startswith(b"\0")
    assert answers(server, tmp_path)


@pytest.mark.parametrize("server_class", SERVERS)
def test_path_as_bytes(serve: Callable[..., Call], path: Path, server_class: type) -> None:
    server = make(server_class, os.fsencode(path))
    serve(server)
    assert answers(server, path.parent)
    server.shutdown()
    server.server_close()
    assert not path.exists()


@pytest.mark.parametrize("server_class", SERVERS)
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o777, 0])
@pytest.mark.usefixtures("umask")
def test_mode(closing: Callable[[Any], Any], path: Path, server_class: type, mode: int) -> None:
    closing(make(server_class, str(path), socket_mode=mode))
    assert mode_of(path) == mode


@pytest.mark.parametrize("server_class", SERVERS)
def test_mode_is_not_narrowed_by_the_umask(
    closing: Callable[[Any], Any], path: Path, server_class: type
) -> None:
    before = os.umask(0o077)
    try:
        closing(make(server_class, str(path), socket_mode=0o666))
    finally:
        os.umask(before)
    assert mode_of(path) == 0o666


@pytest.mark.parametrize("server_class", SERVERS)
@pytest.mark.usefixtures("umask")
def test_file_is_never_wider_open_than_its_mode(
    closing: Callable[[Any], Any], path: Path, server_class: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(os, "chmod", lambda path, mode: seen.append(mode_of(Path(path))))
    closing(make(server_class, str(path), socket_mode=0o600))
    assert seen == [0o600]


@pytest.mark.parametrize("server_class", SERVERS)
@pytest.mark.usefixtures("umask")
def test_no_mode_leaves_it_to_the_umask(
    closing: Callable[[Any], Any], path: Path, server_class: type
) -> None:
    closing(make(server_class, str(path)))
    assert mode_of(path) == 0o777
