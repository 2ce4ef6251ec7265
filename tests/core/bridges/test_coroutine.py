"""What an async handler has around its serving: serving(), for_request(), and their failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from plugport.errors import StartupError
from plugport.handlers.base import AsyncRequestHandler
from plugport_testing.served import ServedService
from plugport_testing.serving import combine, serve

pytestmark = pytest.mark.usefixtures("no_leaks")


class Attended(AsyncRequestHandler):
    """Answers each line with how often it was entered; notes what happens when."""

    transports = frozenset({"stream"})
    log: ClassVar[list[Any]]

    @classmethod
    @asynccontextmanager
    async def serving(cls, servers: list[Any]) -> AsyncIterator[None]:
        cls.log.append(("entered", len(servers)))
        loop = asyncio.get_running_loop()
        for server in servers:
            server.state.loop = loop
        yield
        cls.log.append(("left", sum(len(server.active_requests) for server in servers)))

    async def handle(self, reader: Any, writer: Any) -> None:
        assert self.server.state.loop is asyncio.get_running_loop()
        writer.write(await reader.readline())
        await writer.drain()
        self.log.append("handled")


class Refusing(Attended):
    @classmethod
    @asynccontextmanager
    async def serving(cls, servers: list[Any]) -> AsyncIterator[None]:
        raise StartupError("the database is not there")
        yield


class Informed(asyncio.Protocol):
    """A protocol on the event loop that is told whose connection it has."""

    style = "async"

    @classmethod
    def for_request(cls, context: Any) -> Informed:
        self = cls()
        self.context = context
        return self

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.context.server.strategy_traits.drives >= {"async"}:  # else the loop is the request's own
            assert self.context.transport is transport

    def data_received(self, data: bytes) -> None:
        assert data != b"fail"
        self.transport.write(f"{self.context.handler} {data.decode()}".encode())


class FailingAtOnce(Informed):
    def connection_made(self, transport: Any) -> None:
        raise ValueError("no")


def fresh(handler: type) -> Any:
    return type(handler.__name__, (handler,), {"log": []})


@pytest.mark.parametrize("strategy", ["asyncio", "sync", "threading"])
def test_a_handler_is_entered_before_its_requests_and_left_after_them(strategy: str) -> None:
    handler = fresh(Attended)
    served = serve(handler, concurrency=strategy)
    with served.connect() as client:
        client.sendall(b"one\n")
        assert client.recv(10) == b"one\n"
    served.stop()
    if strategy == "asyncio":
        assert handler.log == [("entered", 1), "handled", ("left", 0)]
    else:  # on a loop for each connection
        assert handler.log == [("entered", 1), "handled", ("left", 1)]


def test_it_is_entered_once_for_all_servers_of_a_service() -> None:
    handler = fresh(Attended)
    combination = combine(handler, "tcp", "asyncio", {})
    served = ServedService()
    for _ in range(2):
        served.add(combination.server_class, "tcp", combination.handler, "handler_lifespan")
    served.start()
    assert served.exchange(b"one\n") == b"one\n"
    served.stop()
    assert handler.log == [("entered", 2), "handled", ("left", 0)]


def test_what_keeps_it_from_beginning_keeps_the_service_from_it() -> None:
    with pytest.raises(StartupError, match="the database is not there"):
        serve(fresh(Refusing), concurrency="asyncio")


def test_requests_under_way_end_before_it_is_left() -> None:
    handler = fresh(Attended)
    served = serve(handler, concurrency="asyncio")
    client = served.connect()
    served.wait_for_event("request_started")
    served.service.stop()
    served.wait_for_event("server_draining")
    client.sendall(b"late\n")
    assert client.recv(10) == b"late\n"
    served.stop()
    assert handler.log[-2:] == ["handled", ("left", 0)]


@pytest.mark.parametrize("strategy", ["asyncio", "sync", "threading"])
def test_a_protocol_on_the_event_loop_is_told_of_its_connection(strategy: str) -> None:
    served = serve(Informed, concurrency=strategy)
    with served.connect() as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"Informed hello"
        client.sendall(b"fail")
        assert client.recv(100) == b""
    assert isinstance(served.wait_for_event("request_failed")["error"], AssertionError)
    served.stop()


def test_a_protocol_that_fails_at_once_ends_its_connection() -> None:
    served = serve(FailingAtOnce, concurrency="asyncio")
    with served.connect() as client:
        client.settimeout(5)
        try:
            assert client.recv(100) == b""
        except ConnectionResetError:
            pass
    assert isinstance(served.wait_for_event("request_failed")["error"], ValueError)
    served.stop()
