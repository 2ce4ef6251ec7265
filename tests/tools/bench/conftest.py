"""Fixtures for tests of the probe and the load: services in a thread of this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugport.combination.verdicts import compose
from plugport_tools.bench.exchange import Address

Listen = Callable[..., Address]

#: Nobody waits for handlers at the end of a test, nor reads what they raise when their clients go.
_QUIET = {"daemon_threads": True, "handle_error": lambda self, request, client_address: None}


@pytest.fixture
def listen(serve: Callable[..., Any], tmp_path: Path) -> Listen:
    """listen(handler) serves it on a server of its own until the test ends, and returns where."""

    def start(handler: Any, server: str = "tcp", strategy: str = "threading", **members: Any) -> Address:
        address: Any = ("127.0.0.1", 0)
        if server.startswith("unix"):
            address = str(tmp_path / "service")
        server_class = type("Server", (compose(server, strategy),), {**_QUIET, **members})
        made = server_class(address, handler)
        serve(made)
        return Address(made.socket.family, made.socket.type, made.server_address)

    return start
