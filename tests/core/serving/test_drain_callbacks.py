"""drain_callbacks: handlers that wait for what need not come end their wait when the server drains."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from plugport.handlers.base import BaseRequestHandler
from plugport_testing.serving import serve

pytestmark = pytest.mark.usefixtures("no_leaks")


class Waiting(BaseRequestHandler):
    """Answers what comes, until a drain ends its wait."""

    transports = frozenset({"stream"})

    def handle(self) -> None:
        self.server.drain_callbacks.add(self.end_wait)
        try:
            while data := self.request.recv(100):
                self.request.sendall(data)
            self.request.sendall(b"bye")
        finally:
            self.server.drain_callbacks.discard(self.end_wait)

    def end_wait(self) -> None:
        self.request.shutdown(socket.SHUT_RD)


class Failing(Waiting):
    def end_wait(self) -> None:
        super().end_wait()
        raise ValueError("no")


@pytest.mark.parametrize("handler", [Waiting, Failing])
@pytest.mark.parametrize("strategy", ["threading", "thread-pool", "select", "asyncio"])
def test_a_drain_ends_the_wait_of_a_handler(strategy: str, handler: Any, caplog: Any) -> None:
    served = serve(handler, concurrency=strategy)
    client = served.connect()
    client.sendall(b"hello")
    assert client.recv(100) == b"hello"
    assert len(served.server.drain_callbacks) == 1
    served.service.stop()
    assert client.recv(100) == b"bye"
    assert client.recv(100) == b""
    served.join()
    assert served.wait_for_event("request_finished")["context"].outcome == "completed"
    assert not served.server.drain_callbacks
    assert ("the drain callback" in caplog.text) is (handler is Failing)
    served.stop()
