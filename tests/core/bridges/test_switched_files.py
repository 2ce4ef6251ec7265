"""Files of the socket that blocking handlers see under a loop."""

from __future__ import annotations

import io
from typing import Any

import pytest
from clients import read_all
from talking import Talk

# Files ----------------------------------------------------------------------------------------


def test_makefile_to_read(talk: Talk) -> None:
    def handler(connection: Any) -> list[Any]:
        with connection.makefile("rb") as file:
            return [
                file.readline(),
                file.peek(1)[:1],
                file.read(2),
                list(file),
                file.readable(),
                file.writable(),
            ]

    talking = talk(handler)
    talking.send(b"one\ntwo\nthree")
    talking.end()
    assert talking.result() == [b"one\n", b"t", b"tw", [b"o\n", b"three"], True, False]


def test_makefile_to_write(talk: Talk) -> None:
    def handler(connection: Any) -> list[Any]:
        with connection.makefile("wb") as file:
            file.write(b"held back ")
            file.flush()
            file.write(b"until it is closed")
            return [file.readable(), file.writable()]

    talking = talk(handler)
    assert read_all(talking.client) == b"held back until it is closed"
    assert talking.result() == [False, True]


def test_makefile_both_ways(talk: Talk) -> None:
    def handler(connection: Any) -> None:
        with connection.makefile("rwb") as file:
            for line in file:
                file.write(line.upper())
                file.flush()

    talking = talk(handler)
    talking.send(b"one\n")
    assert talking.client.recv(10) == b"ONE\n"
    talking.send(b"two")
    talking.end()
    assert read_all(talking.client) == b"TWO"


def test_makefile_for_text(talk: Talk) -> None:
    def handler(connection: Any) -> list[Any]:
        with connection.makefile("rw", encoding="latin-1", newline="\r\n") as file:
            lines = [file.readline(), file.mode, file.encoding]
            file.write("ä\n")
            return lines

    talking = talk(handler)
    talking.send(b"\xfc\r\n")
    assert read_all(talking.client) == b"\xe4\r\n"
    assert talking.result() == ["ü\r\n", "rw", "latin-1"]


def test_makefile_without_a_buffer(talk: Talk) -> None:
    def handler(connection: Any) -> list[Any]:
        with connection.makefile("rb", 0) as reader, connection.makefile("wb", 0) as writer:
            assert isinstance(reader, io.RawIOBase)
            return [reader.read(2), writer.write(b"back"), reader.name == connection.fileno()]

    talking = talk(handler)
    talking.send(b"abc")
    assert talking.client.recv(10) == b"back"
    assert talking.result() == [b"ab", 4, True]


def test_makefile_that_can_not_be(talk: Talk) -> None:
    def handler(connection: Any) -> None:
        with pytest.raises(ValueError, match="invalid mode"):
            connection.makefile("a")
        with pytest.raises(ValueError, match="unbuffered streams must be binary"):
            connection.makefile("r", 0)

    talk(handler).result()


# Timeouts -------------------------------------------------------------------------------------


def test_a_timeout_of_a_file(talk: Talk) -> None:
    def handler(connection: Any) -> None:
        connection.settimeout(0.01)
        with connection.makefile("rb") as file:
            with pytest.raises(TimeoutError):
                file.readline()
            with pytest.raises(OSError, match="cannot read from timed out object"):
                file.readline()

    talk(handler).result()


# Ends -----------------------------------------------------------------------------------------


def test_close_while_files_are_open(talk: Talk) -> None:
    def handler(connection: Any) -> list[Any]:
        reader, writer = connection.makefile("rb"), connection.makefile("wb")
        connection.close()
        line = reader.readline()
        writer.write(b"back")
        reader.close()
        writer.close()
        return [line]

    talking = talk(handler)
    talking.send(b"there\n")
    assert read_all(talking.client) == b"back"
    assert talking.result() == [b"there\n"]
