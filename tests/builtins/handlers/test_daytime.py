"""daytime (RFC 867)."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from clients import datagram_client, hear

from plugport_builtins.handlers.daytime import DaytimeHandler


def assert_is_now(answer: bytes) -> None:
    found = re.fullmatch(r"(\w+, \w+ \d\d, \d{4} \d\d:\d\d:\d\d)-\S*\r\n", answer.decode("ascii"))
    assert found, answer
    then = time.mktime(time.strptime(found[1], "%A, %B %d, %Y %H:%M:%S"))
    assert abs(time.time() - then) < 60


def test_a_connection(start: Any, stream: str) -> None:
    assert_is_now(hear(start(DaytimeHandler, stream)))


@pytest.mark.parametrize("data", [b"", b"anything"])
def test_a_datagram(start: Any, datagram: str, tmp_path: Path, data: bytes) -> None:
    with datagram_client(start(DaytimeHandler, datagram), tmp_path) as client:
        client.send(data)
        assert_is_now(client.recv(1000))
