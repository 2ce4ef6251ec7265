"""Fixtures for tests of bridges."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest
from patience import Call
from talking import Handler, Talking

from plugport.bridges.greenlets import SwitchedSocket
from plugport_builtins.concurrency.select import SelectMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer


@pytest.fixture(params=[SelectMixIn, ThreadingMixIn], ids=["switched", "real"])
def talk(request: pytest.FixtureRequest, serve: Callable[[Any], Call]) -> Any:
    """talk(handler) serves handler(connection), switched or in a thread, and has a client connect."""
    talks: list[Talking] = []

    def start(handler: Handler, server_class: type = TCPServer, address: Any = ("127.0.0.1", 0)) -> Talking:
        outcomes: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def run(connection: Any, client_address: Any, server: Any) -> None:
            assert isinstance(connection, SwitchedSocket) is (request.param is SelectMixIn)
            try:
                outcomes.put(handler(connection))
            except BaseException as error:
                outcomes.put(error)

        server = type("Server", (request.param, server_class), {})(address, run)
        serve(server)
        talks.append(Talking(server, outcomes))
        return talks[-1]

    yield start
    for each in talks:
        each.client.close()
