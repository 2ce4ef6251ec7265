"""Fixtures for tests of handlers: each is served for real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patience import Call
from recording import Recorder

from plugport import compose
from plugport.contracts.members import configure
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer
from plugport_builtins.servers.unix import UnixDatagramServer, UnixStreamServer

Start = Callable[..., Any]

SERVERS = {"tcp": TCPServer, "udp": UDPServer, "unix": UnixStreamServer, "unixgram": UnixDatagramServer}


@pytest.fixture
def start(serve: Callable[[Any], Call], tmp_path: Path, recorder: Recorder) -> Start:
    """start(handler, scheme, strategy, **options) is a server that serves *handler* and calls *recorder*."""

    def start_server(
        handler: type, scheme: str = "tcp", strategy: type = ThreadingMixIn, **options: Any
    ) -> Any:
        address: Any = str(tmp_path / "server") if scheme.startswith("unix") else ("127.0.0.1", 0)
        server = compose(SERVERS[scheme], strategy)(address, configure(handler, options))
        server.hooks = recorder.hooks
        serve(server)
        return server

    return start_server


@pytest.fixture(params=["tcp", "unix"])
def stream(request: pytest.FixtureRequest) -> str:
    """A scheme of connections."""
    scheme: str = request.param
    return scheme


@pytest.fixture(params=["udp", "unixgram"])
def datagram(request: pytest.FixtureRequest) -> str:
    """A scheme of datagrams."""
    scheme: str = request.param
    return scheme
