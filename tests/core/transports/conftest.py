"""Fixtures for tests of transports."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from clients import Client
from leaks import LeakCheck
from patience import PATIENCE
from scripts import RUNNERS, Session, Start


@pytest.fixture(params=RUNNERS)
def start(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Start]:
    """start(protocol) runs it on a connection, by asyncio's transport or plugport's."""
    before = LeakCheck(tmp_path)
    sessions: list[Session] = []

    def run(protocol: Any) -> Session:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            peer = Client(socket.AF_INET, socket.SOCK_STREAM)
            peer.settimeout(PATIENCE)
            peer.connect(listener.getsockname())
            sock, _ = listener.accept()
        # Small, so that not much can be written before it must wait.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        sessions.append(Session(protocol, peer, *RUNNERS[request.param](sock, protocol)))
        return sessions[-1]

    yield run
    for session in sessions:
        session.abort()
    before.assert_unchanged()
