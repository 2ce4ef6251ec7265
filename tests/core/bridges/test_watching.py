"""Watched protocols on asyncio: what a protocol can do with its transport, and what is reported."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import authority
from patience import wait_until

from plugport_testing.serving import serve

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """start(protocol, secure) serves a protocol under the asyncio strategy."""
    services: list[Any] = []

    def start(handler: Any, secure: bool = False, **options: Any) -> Any:
        if secure:
            options["certfile"] = str(authority().write(tmp_path / "certificate.pem"))
        url = f"{'tls' if secure else 'tcp'}://127.0.0.1:0"
        services.append(serve(handler, url, "asyncio", options=options))
        return services[-1]

    yield start
    for served in services:
        served.stop()


def connect(served: Any, secure: bool) -> Any:
    return authority().connect(served.address) if secure else served.connect()


def received(client: Any) -> bytes:
    """Read to the end."""
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


def outcome_of(served: Any) -> Any:
    return served.wait_for_event("request_finished")["context"].outcome


class Upper(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())
        self.transport.close()


class Switching(asyncio.Protocol):
    """Lets another protocol answer."""

    def connection_made(self, transport: Any) -> None:
        assert transport.get_protocol() is self
        upper = Upper()
        upper.connection_made(transport)
        transport.set_protocol(upper)
        assert transport.get_protocol() is upper


class SwitchingTask(Switching):
    """The same on the event loop of an async handler."""

    style = "async"


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("handler", [Switching, SwitchingTask])
@pytest.mark.parametrize("options", [{}, {"idle_timeout": 60}], ids=["", "idle"])
def test_a_protocol_that_is_switched_to_is_watched(
    handler: Any, secure: bool, options: dict[str, Any], start: Callable[..., Any]
) -> None:
    served = start(handler, secure, **options)
    with connect(served, secure) as client:
        client.sendall(b"hello")
        assert received(client) == b"HELLO"
    assert outcome_of(served) == "completed"


class FailingAfterSwitch(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        class Failing(asyncio.Protocol):
            def connection_lost(self, exc: Exception | None) -> None:
                raise ValueError("no")

        transport.set_protocol(Failing())
        transport.close()


def test_an_exception_of_a_protocol_that_is_switched_to_is_reported(start: Callable[..., Any]) -> None:
    served = start(FailingAfterSwitch)
    with served.connect() as client:
        assert received(client) == b""
    assert isinstance(served.wait_for_event("request_failed")["error"], ValueError)


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
def test_the_loop_sends_a_file_over_the_transport(
    secure: bool, tmp_path: Path, start: Callable[..., Any]
) -> None:
    content = bytes(range(256)) * 1000
    path = tmp_path / "file"
    path.write_bytes(content)

    class Sending(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.task = asyncio.get_running_loop().create_task(self.send(transport))

        async def send(self, transport: Any) -> None:
            with path.open("rb") as file:
                await asyncio.get_running_loop().sendfile(transport, file)
            assert transport.get_protocol() is self
            transport.close()

    served = start(Sending, secure)
    with connect(served, secure) as client:
        assert received(client) == content
    assert outcome_of(served) == "completed"


class StartingTLS(asyncio.Protocol):
    """Upgrades the connection to TLS when the client asks for it."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert data == b"STARTTLS"
        self.transport.write(b"OK")
        self.task = asyncio.get_running_loop().create_task(self.start_tls())

    async def start_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue("localhost").configure_cert(context)
        upper = Upper()
        loop = asyncio.get_running_loop()
        upper.connection_made(await loop.start_tls(self.transport, upper, context, server_side=True))


def test_a_connection_is_upgraded_to_tls(start: Callable[..., Any]) -> None:
    served = start(StartingTLS)
    with served.connect() as plain:
        plain.sendall(b"STARTTLS")
        assert plain.recv(2) == b"OK"
        with authority().client().wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(b"hello")
            assert received(client) == b"HELLO"
    assert outcome_of(served) == "completed"


class FailingPause(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.set_write_buffer_limits(high=0)
        transport.write(bytes(1 << 24))

    def pause_writing(self) -> None:
        raise ValueError("no")


class FailingPauseTask(FailingPause):
    style = "async"


@pytest.mark.parametrize("handler", [FailingPause, FailingPauseTask])
def test_an_exception_of_pause_writing_ends_the_connection(handler: Any, start: Callable[..., Any]) -> None:
    served = start(handler)
    with served.connect() as client, contextlib.suppress(ConnectionResetError):
        received(client)
    assert isinstance(served.wait_for_event("request_failed")["error"], ValueError)
    assert outcome_of(served) == "failed"


class Silent(asyncio.BaseProtocol):
    """Has no method for data: it only writes."""

    def connection_made(self, transport: Any) -> None:
        transport.write(b"bye")
        transport.close()


def test_a_protocol_need_not_take_data(start: Callable[..., Any]) -> None:
    served = start(Silent)
    with served.connect() as client:
        assert received(client) == b"bye"
    assert outcome_of(served) == "completed"


class Proxied(asyncio.Protocol):
    """Answers with the peer name."""

    def connection_made(self, transport: Any) -> None:
        transport.write(repr(transport.get_extra_info("peername")).encode())
        assert transport.get_extra_info("socket") is not None
        transport.close()


class ProxiedTask(Proxied):
    style = "async"


async def proxied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(repr(writer.get_extra_info("peername")).encode())
    writer.close()


@pytest.mark.parametrize("handler", [Proxied, ProxiedTask, proxied])
def test_the_peername_is_the_address_in_the_header_of_a_proxy(
    handler: Any, start: Callable[..., Any]
) -> None:
    served = start(handler, proxy_protocol=True, proxy_trusted=("127.0.0.1",))
    with served.connect() as client:
        client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n")
        assert received(client) == b"('192.0.2.1', 1234)"


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
def test_a_protocol_is_freed_without_the_garbage_collector(secure: bool, start: Callable[..., Any]) -> None:
    protocols: list[weakref.ref[Any]] = []

    class Weak(Upper):
        def __init__(self) -> None:
            protocols.append(weakref.ref(self))

    served = start(Weak, secure)
    gc.disable()
    try:
        with connect(served, secure) as client:
            client.sendall(b"hello")
            assert received(client) == b"HELLO"
        served.wait_for_event("request_finished")
        served.events.clear()
        wait_until(lambda: protocols[0]() is None, what="the end of the protocol")
    finally:
        gc.enable()


class Rebinds(asyncio.Protocol):
    """Replaces its own method for the next state, as many protocols do."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"1:" + data)
        self.data_received = self.second  # type: ignore[method-assign]

    def second(self, data: bytes) -> None:
        self.transport.write(b"2:" + data)


@pytest.mark.parametrize("idle_timeout", [None, 30.0])
def test_a_protocol_may_replace_its_own_method(start: Callable[..., Any], idle_timeout: float | None) -> None:
    served = start(Rebinds, idle_timeout=idle_timeout)
    with connect(served, False) as client:
        for expected in (b"1:a", b"2:a", b"2:a"):
            client.sendall(b"a")
            assert client.recv(100) == expected
