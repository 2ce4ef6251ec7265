"""The socket that blocking handlers see under a loop: what waits there lets others run."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from clients import Client, connect, read_all
from patience import PATIENCE, Call, wait_until
from talking import LARGE, Talk, send_for_ever

from plugport_builtins.concurrency.select import SelectMixIn
from plugport_builtins.servers.unix import UnixStreamServer

# Reading --------------------------------------------------------------------------------------


def test_recv_takes_what_is_there(talk: Talk) -> None:
    def handler(connection: Any) -> list[bytes]:
        first = connection.recv(3)
        connection.sendall(b"more?")
        found = [first]
        while data := connection.recv(4):
            found.append(data)
        return [*found, connection.recv(10), connection.recv(10)]

    talking = talk(handler)
    talking.send(b"abcdefgh")
    assert talking.client.recv(10) == b"more?"
    talking.end()
    assert talking.result() == [b"abc", b"defg", b"h", b"", b""]


def test_recv_peeks(talk: Talk) -> None:
    def handler(connection: Any) -> list[bytes]:
        return [
            connection.recv(2, socket.MSG_PEEK),
            connection.recv(10, socket.MSG_PEEK),
            connection.recv(10),
        ]

    talking = talk(handler)
    talking.send(b"abc")
    assert talking.result() == [b"ab", b"abc", b"abc"]


def test_recv_waits_for_all(talk: Talk) -> None:
    def handler(connection: Any) -> list[bytes]:
        connection.sendall(b"go")
        whole = connection.recv(6, socket.MSG_WAITALL)
        connection.sendall(b"on")
        return [whole, connection.recv(6, socket.MSG_WAITALL)]

    talking = talk(handler)
    talking.send(b"abc")
    assert talking.client.recv(2) == b"go"
    talking.send(b"defgh")
    assert talking.client.recv(2) == b"on"
    talking.end()
    assert talking.result() == [b"abcdef", b"gh"]


def test_recv_waits_for_more_than_is_kept_unread(talk: Talk) -> None:
    talking = talk(lambda connection: connection.recv(len(LARGE), socket.MSG_WAITALL))
    talking.send(LARGE)
    assert talking.result() == LARGE


def test_recv_into(talk: Talk) -> None:
    def handler(connection: Any) -> list[Any]:
        buffer = bytearray(5)
        counts = [connection.recv_into(buffer), connection.recv_into(buffer, 2)]
        with memoryview(buffer)[3:] as rest:
            counts.append(connection.recv_into(rest, 0, socket.MSG_PEEK))
        connection.recv(10)
        connection.sendall(b"end")
        return [*counts, connection.recv_into(buffer), bytes(buffer)]

    talking = talk(handler)
    talking.send(b"abcdefgXY")
    assert talking.client.recv(10) == b"end"
    talking.end()
    assert talking.result() == [5, 2, 2, 0, b"fgcXY"]


def test_recvfrom_has_no_sender(talk: Talk) -> None:
    talking = talk(lambda connection: connection.recvfrom(10))
    talking.send(b"abc")
    assert talking.result()[0] == b"abc"


def test_recv_of_nothing_does_not_wait(talk: Talk) -> None:
    assert talk(lambda connection: connection.recv(0)).result() == b""


# Writing --------------------------------------------------------------------------------------


def test_send_and_sendall(talk: Talk) -> None:
    def handler(connection: Any) -> list[Any]:
        values = memoryview(struct.pack("3i", 1, 2, 3)).cast("i")
        return [connection.sendall(b"abc"), connection.send(bytearray(b"def")), connection.send(values)]

    talking = talk(handler)
    assert talking.result() == [None, 3, 12]
    assert read_all(talking.client) == b"abcdef" + struct.pack("3i", 1, 2, 3)


def test_sendall_waits_for_the_client(talk: Talk) -> None:
    done = threading.Event()

    def handler(connection: Any) -> None:
        for _ in range(4):
            connection.sendall(LARGE)
        done.set()

    talking = talk(handler)
    assert talking.client.recv(1, socket.MSG_PEEK)
    assert not done.wait(0.05)
    assert read_all(talking.client) == LARGE * 4
    assert done.wait(PATIENCE)


def test_a_busy_writer_leaves_others_their_turn(talk: Talk) -> None:
    enough = threading.Event()

    def handler(connection: Any) -> None:
        if connection.recv(4) == b"echo":
            connection.sendall(b"here")
            return
        while not enough.is_set():
            connection.sendall(LARGE)

    talking = talk(handler)
    talking.send(b"busy")
    reader = Call(read_all, talking.client)
    try:
        for _ in range(10):
            with connect(talking.server) as other:
                other.sendall(b"echo")
                assert other.recv(10) == b"here"
    finally:
        enough.set()
    assert set(reader.result()) == set(LARGE)


@pytest.mark.parametrize(("offset", "count"), [(0, None), (10, None), (0, 100), (10, 100000), (10, 10**9)])
def test_sendfile(talk: Talk, tmp_path: Path, offset: int, count: int | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(LARGE)

    def handler(connection: Any) -> tuple[int, int]:
        with path.open("rb") as file:
            return connection.sendfile(file, offset, count), file.tell()

    talking = talk(handler)
    expected = LARGE[offset:] if count is None else LARGE[offset : offset + count]
    assert read_all(talking.client) == expected
    assert talking.result() == (len(expected), offset + len(expected))


def test_what_was_sent_arrives_although_the_handler_has_ended(talk: Talk) -> None:
    def handler(connection: Any) -> None:
        connection.sendall(LARGE)
        connection.shutdown(socket.SHUT_WR)

    assert read_all(talk(handler).client) == LARGE


# Timeouts -------------------------------------------------------------------------------------


def test_a_timeout_is_told_and_is_not_the_end(talk: Talk) -> None:
    def handler(connection: Any) -> list[Any]:
        connection.settimeout(0.01)
        with pytest.raises(TimeoutError, match="timed out"):
            connection.recv(1)
        assert connection.gettimeout() == 0.01
        assert connection.getblocking()
        connection.settimeout(None)
        connection.sendall(b"now")
        return [connection.recv(10), connection.gettimeout()]

    talking = talk(handler)
    assert talking.client.recv(10) == b"now"
    talking.send(b"late")
    assert talking.result() == [b"late", None]


def test_a_timeout_of_sendall(talk: Talk) -> None:
    def handler(connection: Any) -> None:
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            send_for_ever(connection)

    talk(handler).result()


def test_without_waiting(talk: Talk) -> None:
    def handler(connection: Any) -> list[Any]:
        connection.setblocking(False)
        assert not connection.getblocking()
        assert connection.gettimeout() == 0.0
        with pytest.raises(BlockingIOError) as failure:
            connection.recv(1)
        assert failure.value.errno == errno.EAGAIN
        connection.setblocking(True)
        connection.sendall(b"now")
        connection.recv(1)
        connection.settimeout(0)
        return [connection.recv(10)]

    talking = talk(handler)
    assert talking.client.recv(10) == b"now"
    talking.send(b"abc")
    assert talking.result() == [b"bc"]


def test_a_timeout_that_can_not_be(talk: Talk) -> None:
    def handler(connection: Any) -> None:
        with pytest.raises(ValueError, match="Timeout value out of range"):
            connection.settimeout(-1)

    talk(handler).result()


# Ends -----------------------------------------------------------------------------------------


def test_shutdown_of_writing(talk: Talk) -> None:
    def handler(connection: Any) -> bytes:
        connection.sendall(b"all")
        connection.shutdown(socket.SHUT_WR)
        with pytest.raises(BrokenPipeError):
            connection.sendall(b"more")
        data: bytes = connection.recv(100)
        return data

    talking = talk(handler)
    assert read_all(talking.client) == b"all"
    talking.send(b"thanks")
    assert talking.result() == b"thanks"


def test_shutdown_of_reading(talk: Talk) -> None:
    def handler(connection: Any) -> bytes:
        connection.shutdown(socket.SHUT_RD)
        data: bytes = connection.recv(100)
        connection.sendall(b"still here")
        return data

    talking = talk(handler)
    assert talking.result() == b""
    assert read_all(talking.client) == b"still here"


def test_shutdown_of_both(talk: Talk) -> None:
    def handler(connection: Any) -> bytes:
        connection.sendall(LARGE[:100000])
        connection.shutdown(socket.SHUT_RDWR)
        data: bytes = connection.recv(100)
        return data

    talking = talk(handler)
    assert read_all(talking.client) == LARGE[:100000]
    assert talking.result() == b""


def test_close(talk: Talk) -> None:
    def handler(connection: Any) -> int:
        with connection:
            connection.sendall(b"bye")
        for call in (
            lambda: connection.recv(1),
            lambda: connection.sendall(b"x"),
            lambda: connection.recv_into(bytearray(1)),
        ):
            with pytest.raises(OSError, match="Bad file descriptor"):
                call()
        fd: int = connection.fileno()
        return fd

    talking = talk(handler)
    assert read_all(talking.client) == b"bye"
    assert talking.result() == -1


def test_detach(talk: Talk) -> None:
    def handler(connection: Any) -> bytes:
        with socket.socket(fileno=connection.detach()) as mine:
            assert connection.fileno() == -1
            mine.sendall(b"mine")
            return mine.recv(10)

    talking = talk(handler)
    if isinstance(talking.server, SelectMixIn):
        talking.send(b"early")  # what came before it is asked for stays with the connection
    assert talking.client.recv(10) == b"mine"
    talking.send(b"yours")
    assert talking.result() in (b"yours", b"early", b"earlyyours")


def test_a_client_that_resets_while_it_is_read(talk: Talk) -> None:
    def handler(connection: Any) -> None:
        connection.sendall(b"go")
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
        with pytest.raises(ConnectionError):
            send_for_ever(connection)

    talking = talk(handler)
    assert talking.client.recv(2) == b"go"
    talking.reset()
    talking.result()


def test_a_client_that_resets_while_it_is_written_to(talk: Talk) -> None:
    def handler(connection: Any) -> None:
        with pytest.raises(ConnectionError):
            send_for_ever(connection)

    talking = talk(handler)
    assert talking.client.recv(2)
    talking.reset()
    talking.result()
    wait_until(lambda: not talking.server.active_requests)


# What it is -----------------------------------------------------------------------------------


def test_what_it_tells_of_itself(talk: Talk) -> None:
    def handler(connection: Any) -> list[Any]:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return [
            connection.getpeername(),
            connection.getsockname(),
            (connection.family, connection.type, connection.proto),
            bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
            connection.fileno() >= 0,
            len(connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)),
        ]

    talking = talk(handler)
    address = talking.client.getsockname()
    kind = (socket.AF_INET, socket.SOCK_STREAM, 0)
    assert talking.result() == [address, talking.server.server_address, kind, True, True, 8]


def test_on_a_unix_socket(talk: Any, tmp_path: Path) -> None:
    talking = talk(lambda connection: connection.getpeername(), UnixStreamServer, str(tmp_path / "socket"))
    assert isinstance(talking.client, Client)
    assert talking.result() == ""
