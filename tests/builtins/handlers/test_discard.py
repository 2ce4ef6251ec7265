"""discard (RFC 863)."""

from pathlib import Path
from typing import Any

import pytest
from clients import ask, datagram_client
from patience import wait_until

from plugport_builtins.handlers.discard import DiscardHandler


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_a_connection(start: Any, recorder: Any, stream: str, size: int) -> None:
    assert ask(start(DiscardHandler, stream), bytes(size)) == b""
    wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes == ["completed"]


@pytest.mark.parametrize("size", [0, 1, 65507])
def test_a_datagram(start: Any, recorder: Any, datagram: str, tmp_path: Path, size: int) -> None:
    with datagram_client(start(DiscardHandler, datagram), tmp_path) as client:
        client.send(bytes(size))
        wait_until(lambda: recorder.outcomes)
        assert recorder.outcomes == ["completed"]
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(100)
