"""The contract of secure servers: with a server and strategies that know no more than it says."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from certificates import authority

from plugport import BaseRequestHandler, ServerTraits, StrategyTraits
from plugport.bridges import adapt
from plugport_builtins.servers.tcp import TCPServer
from plugport_testing.serving import serve

STRATEGIES = ("sync", "threading", "forking", "thread-pool", "select", "asyncio")


class SecureServer(TCPServer):
    """One that does not look at the ClientHello before."""

    scheme = "secure"
    traits = ServerTraits(secure=True)
    context: ClassVar[Any] = None

    def tls_context(self) -> ssl.SSLContext:
        if type(self).context is None:
            type(self).context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority().issue("localhost").configure_cert(type(self).context)
        context: ssl.SSLContext = type(self).context
        return context


class OwnLoopMixIn:
    """A stranger's strategy: protocols on an asyncio loop of its own, and not a word of TLS."""

    traits = StrategyTraits(drives={"protocol"})

    def process_request(self: Any, request: Any, client_address: Any) -> None:
        if "own" not in vars(self):
            self.own = asyncio.new_event_loop()
            self.runner = threading.Thread(target=self.own.run_forever)
            self.runner.start()
        context = self.active_requests[id(request)]
        request.setblocking(False)
        protocol = Watched(self.RequestHandlerClass(context), lambda: self.conclude_request(request), context)
        asyncio.run_coroutine_threadsafe(
            self.own.connect_accepted_socket(lambda: protocol, request), self.own
        )

    def server_close(self: Any) -> None:
        if "own" in vars(self):
            self.own.call_soon_threadsafe(self.own.stop)
            self.runner.join()
            self.own.close()
            del self.own
        super().server_close()  # type: ignore[misc]


class Watched(asyncio.Protocol):
    def __init__(self, protocol: Any, ended: Callable[[], None], context: Any) -> None:
        self._protocol, self._ended, self._context = protocol, ended, context
        self.data_received = protocol.data_received
        self.eof_received = protocol.eof_received
        self.pause_writing, self.resume_writing = protocol.pause_writing, protocol.resume_writing

    def connection_made(self, transport: Any) -> None:
        self._context.transport = transport
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
        self._ended()


class Echo(BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()


def echoed(message: bytes) -> bytes:
    return message


async def async_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


HANDLERS = {"blocking": Echo, "protocol": EchoProtocol, "message": echoed, "async": async_echo}


@pytest.fixture
def start(no_leaks: None) -> Iterator[Callable[..., Any]]:
    served: list[Any] = []

    def start(handler: Any, strategy: Any, **options: Any) -> Any:
        served.append(serve(handler, "secure://127.0.0.1:0", strategy, server=SecureServer, options=options))
        return served[-1]

    yield start
    for each in served:
        each.stop()


def assert_echoes(served: Any) -> None:
    with authority().connect(served.address) as client:
        for size in (10, 60_000):
            message = b"x" * size + b"\n"
            client.sendall(message)
            received = b""
            while len(received) < len(message):
                received += client.recv(65536)
            assert received == message
        client.unwrap()
    served.wait_for_event("request_finished")


CELLS = [
    pytest.param(style, strategy, id=f"{style}-{getattr(strategy, '__name__', strategy)}")
    for style in HANDLERS
    for strategy in (*STRATEGIES, OwnLoopMixIn)
    if style != "async" or strategy not in ("select", OwnLoopMixIn)
]


@pytest.mark.parametrize(("style", "strategy"), CELLS)
def test_a_server_that_is_secure(style: str, strategy: Any, start: Callable[..., Any]) -> None:
    assert_echoes(start(HANDLERS[style], strategy))


def test_a_handshake_that_fails_above_a_foreign_transport(start: Callable[..., Any]) -> None:
    served = start(EchoProtocol, OwnLoopMixIn, handshake_timeout=0.2)
    with pytest.raises(ssl.SSLCertVerificationError):
        authority().connect(served.address, context=ssl.create_default_context())
    assert served.wait_for_event("request_failed")["context"].outcome == "aborted"
    with served.connect() as client:
        assert client.recv(1) == b""
    context = served.wait_for_event("request_failed", count=2)["context"]
    assert context.outcome == "timed-out"


def test_who_waits_for_a_free_place_is_not_cut_by_it(start: Callable[..., Any]) -> None:
    """The time for the handshake begins when a thread has the connection."""
    served = start(Echo, "thread-pool", max_workers=1, handshake_timeout=0.3)
    with authority().connect(served.address) as first:
        first.sendall(b"x")
        assert first.recv(10) == b"x"
        waiting = served.connect()
        with pytest.raises(AssertionError):
            served.wait_for_event("request_failed", 0.5)
    client = authority().client().wrap_socket(waiting, server_hostname="localhost")
    with client:
        client.sendall(b"y")
        assert client.recv(10) == b"y"


def test_a_plain_server_has_nothing_between() -> None:
    driven = frozenset({"blocking", "protocol"})
    assert adapt(Echo, "blocking", driven, stream=True) == ("blocking", Echo)
    _, make = adapt(EchoProtocol, "protocol", driven, stream=True)
    assert type(make(None)) is EchoProtocol


def test_what_a_server_must_answer() -> None:
    class Forgetful(TCPServer):
        traits = ServerTraits(secure=True)

    with Forgetful(("127.0.0.1", 0), Echo) as server, pytest.raises(NotImplementedError, match="tls_context"):
        server.tls_context()
