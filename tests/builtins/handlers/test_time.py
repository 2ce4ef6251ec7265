"""time (RFC 868)."""

import datetime
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from clients import datagram_client, hear

from plugport_builtins.handlers.time import EPOCH, TimeHandler


def assert_is_now(answer: bytes) -> None:
    (seconds,) = struct.unpack("!I", answer)
    assert abs(time.time() + EPOCH - seconds) % 2**32 < 60


def test_the_epoch() -> None:
    since = datetime.date(1970, 1, 1) - datetime.date(1900, 1, 1)
    assert since.total_seconds() == EPOCH


def test_a_connection(start: Any, stream: str) -> None:
    assert_is_now(hear(start(TimeHandler, stream)))


def test_a_datagram(start: Any, datagram: str, tmp_path: Path) -> None:
    with datagram_client(start(TimeHandler, datagram), tmp_path) as client:
        client.send(b"")
        assert_is_now(client.recv(100))


@pytest.mark.parametrize(
    ("now", "number"),
    [
        # The examples of RFC 868.
        (datetime.datetime(1970, 1, 1), 2_208_988_800),
        (datetime.datetime(1976, 1, 1), 2_398_291_200),
        (datetime.datetime(1983, 5, 1), 2_629_584_000),
        # And what comes after its 32 bits.
        (datetime.datetime(2036, 2, 7, 6, 28, 15), 2**32 - 1),
        (datetime.datetime(2036, 2, 7, 6, 28, 16), 0),
    ],
)
def test_the_number(monkeypatch: pytest.MonkeyPatch, now: datetime.datetime, number: int) -> None:
    monkeypatch.setattr("time.time", now.replace(tzinfo=datetime.UTC).timestamp)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        TimeHandler(ours, "", None)
        assert theirs.recv(100) == number.to_bytes(4, "big")
