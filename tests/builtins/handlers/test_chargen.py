"""chargen (RFC 864)."""

from pathlib import Path
from typing import Any

from clients import connect, datagram_client
from patience import wait_until

from plugport_builtins.handlers.chargen import ChargenHandler

PRINTABLE = "".join(map(chr, range(32, 127)))
LINES = [f"{(PRINTABLE * 2)[start : start + 72]}\r\n".encode() for start in range(95)]


def test_the_pattern() -> None:
    # A line of the example in RFC 864.
    line = rb"""!"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefgh"""
    assert LINES[1] == line + b"\r\n"
    assert LINES[0] == b" " + line[:-1] + b"\r\n"


def test_a_connection_until_the_client_goes(start: Any, recorder: Any, stream: str) -> None:
    server = start(ChargenHandler, stream)
    with connect(server) as client, client.makefile("rb") as file:
        for number in range(3000):
            assert file.readline() == LINES[number % 95]
        assert recorder.outcomes == []
    wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes == ["aborted"]


def test_a_datagram(start: Any, datagram: str, tmp_path: Path) -> None:
    sizes = set()
    with datagram_client(start(ChargenHandler, datagram), tmp_path) as client:
        for _ in range(50):
            client.send(b"")
            answer = client.recv(65536)
            assert b"".join(LINES).startswith(answer)
            sizes.add(len(answer))
    assert max(sizes) <= 512
    assert len(sizes) > 1
