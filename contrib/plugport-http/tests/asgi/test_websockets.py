"""ASGI WebSockets, with the client of websockets: handshake, messages, limits, close."""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvloop
from plugport import resolve_target
from served import APPLICATIONS, Client, command, eventually, raw, receive_until
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

APP = f"{APPLICATIONS / 'asgi_cases.py'}:app"
STRATEGIES = ("asyncio", "sync")
HANDSHAKE = (
    b"GET /%b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def application_globals() -> Any:
    """Return the globals of the application's module, which runs in this process."""
    return resolve_target(APP).__globals__


@pytest.fixture
def events() -> list[Any]:
    noted: list[Any] = application_globals()["events"]
    noted.clear()
    return noted


@pytest.fixture
def serve(plugport_serve: Any, events: list[Any]) -> Any:
    def serve(strategy: str = "asyncio", **options: Any) -> Any:
        return plugport_serve("asgi", concurrency=strategy, app=APP, **options)

    return serve


@pytest.fixture(scope="module", autouse=True)
def _signals_of_libuv() -> None:
    """Make libuv open its pipe for the process before a test checks for leaks."""
    uvloop.new_event_loop().close()


@contextmanager
def talking(served: Any, path: str = "chat", **more: Any) -> Iterator[ClientConnection]:
    host, port = served.address
    with connect(f"ws://{host}:{port}/{path}", proxy=None, **more) as client:
        yield client


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_messages_are_sent_both_ways(serve: Any, strategy: str, compression: Any, events: list[Any]) -> None:
    served = serve(strategy)
    with talking(served, compression=compression, subprotocols=["a", "b"]) as client:
        assert client.subprotocol == "b"
        assert client.response.headers["x-greeting"] == "hello"
        extensions = client.response.headers.get("sec-websocket-extensions", "")
        assert ("permessage-deflate" in extensions) is (compression is not None)
        for message in ("text", "tëxt €", b"bytes", "", b"", "x" * 500_000, bytes(100_000)):
            client.send(message)
            assert client.recv(10) == message
        client.send(iter(["in ", "", "fragments"]))
        assert client.recv(10) == "in fragments"
        assert client.ping().wait(10)
        client.close(4000, "enough")
    eventually(lambda: (4000, "enough") in events)


def test_application_can_close_websocket(serve: Any, events: list[Any]) -> None:
    served = serve()
    with talking(served) as client:
        client.send("bye")
        with pytest.raises(ConnectionClosed) as info:
            client.recv(10)
        assert (info.value.rcvd.code, info.value.rcvd.reason) == (3000, "so long")
    eventually(lambda: 3000 in events)


@pytest.mark.parametrize(("word", "code"), [("fail", 1011), ("end", 1000)])
def test_websocket_left_open_is_closed(serve: Any, word: str, code: int, caplog: Any) -> None:
    served = serve()
    with talking(served) as client:
        client.send(word)
        with pytest.raises(ConnectionClosed) as info:
            client.recv(10)
        assert info.value.rcvd.code == code
    assert ("failed on purpose" in caplog.text) is (word == "fail")


@pytest.mark.parametrize(("path", "status"), [("reject", 403), ("silent", 500), ("none", 500)])
def test_rejected_websocket_is_answered(serve: Any, path: str, status: int) -> None:
    served = serve()
    with pytest.raises(InvalidStatus) as info, talking(served, path):
        pass
    assert info.value.response.status_code == status


def test_denial_response_is_sent(serve: Any) -> None:
    answer = raw(serve().connect(), HANDSHAKE % b"deny")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"x-why: so" in head
    assert body == b"who are you?"


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [(b"dGhlIHNhbXBsZSBub25jZQ==", b"short", 400), (b"Version: 13", b"Version: 12", 400)],
)
def test_malformed_handshake_is_rejected(serve: Any, old: bytes, new: bytes, status: int) -> None:
    answer = raw(serve().connect(), (HANDSHAKE % b"chat").replace(old, new))
    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_connection_can_upgrade_after_requests(serve: Any) -> None:
    sock = serve().connect()
    assert Client(sock).ask("GET", "/hello")[2] == b"Hello, world!"
    # What a client sends before it was accepted is not lost.
    sock.sendall(HANDSHAKE % b"chat" + Frame(Opcode.TEXT, b"early").serialize(mask=True))
    answer = receive_until(sock, b"early")
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer


def test_message_over_max_size_is_rejected(serve: Any, events: list[Any]) -> None:
    served = serve(websocket_max_size=1000)
    for message in ("x" * 1001, iter(["x" * 600] * 2), "x" * 2_000_000):
        with talking(served) as client:
            with suppress(ConnectionClosed):  # a large one is refused while it is sent
                client.send(message)
            with pytest.raises(ConnectionClosed) as info:
                client.recv(10)
            assert info.value.rcvd.code == 1009
    eventually(lambda: [event[0] for event in events if isinstance(event, tuple)] == [1009] * 3)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True), 1007),
        (Frame(Opcode.TEXT, b"unmasked").serialize(mask=False), 1002),
        (Frame(Opcode.CONT, b"of nothing").serialize(mask=True), 1002),
        (b"\x83\x80\0\0\0\0", 1002),
    ],
    ids=["no UTF-8", "unmasked", "a continuation of nothing", "an unknown kind"],
)
def test_protocol_violation_is_answered_with_close_frame(serve: Any, data: bytes, code: int) -> None:
    sock = serve().connect()
    sock.sendall(HANDSHAKE % b"chat")
    receive_until(sock, b"\r\n\r\n")
    answer = raw(sock, data)
    assert answer[0] == 0x88
    assert int.from_bytes(answer[2:4], "big") == code


def test_disconnect_without_close_frame_is_noticed(serve: Any, events: list[Any]) -> None:
    served = serve()
    with served.connect() as sock:
        sock.sendall(HANDSHAKE % b"chat")
        receive_until(sock, b"\r\n\r\n")
    eventually(lambda: (1006, "") in events)


def test_client_without_pong_is_disconnected(serve: Any, events: list[Any]) -> None:
    served = serve(websocket_ping_interval=0.1)
    with talking(served) as client:  # answers
        eventually(lambda: not client.send("x") and client.recv(10) == "x")
        sock = served.connect()
        sock.sendall(HANDSHAKE % b"chat")
        answer = raw(sock)
        assert b"\x89\x00" in answer  # the ping
        client.send("still here")
        assert client.recv(10) == "still here"
    assert any(event == (1011, "no answer to a ping") for event in events)


def test_application_that_does_not_receive_pauses_client(serve: Any, events: list[Any]) -> None:
    served = serve()
    sock = served.connect()
    sock.sendall(HANDSHAKE % b"flood")
    receive_until(sock, b"\r\n\r\n")
    frame = Frame(Opcode.BINARY, b"x" * 65536).serialize(mask=True)
    sock.settimeout(1.0)
    sent = 0
    with suppress(TimeoutError):
        while sent < 1000:
            sock.sendall(frame)
            sent += 1
    assert sent < 400
    served.server.serving_loop._loop.call_soon_threadsafe(application_globals()["gates"]["go"].set)
    sock.close()
    eventually(lambda: any(isinstance(event, int) and event > 1 for event in events))


def test_drain_closes_websocket_with_1001(serve: Any, events: list[Any]) -> None:
    served = serve()
    with talking(served) as client:
        client.send("hello")
        assert client.recv(10) == "hello"
        served.service.stop()
        with pytest.raises(ConnectionClosedOK) as info:
            client.recv(10)
        assert info.value.rcvd.code == 1001
    served.join()
    assert events[-2:] == [(1001, "the server is going away"), "shutdown"]


def test_many_websockets_at_once(serve: Any) -> None:
    served = serve(loop_factory="uvloop:new_event_loop")
    host, port = served.address

    async def talk(number: int) -> None:
        from websockets.asyncio.client import connect

        async with connect(f"ws://{host}:{port}/chat", proxy=None) as client:
            for turn in range(20):
                await client.send(f"{number} {turn}")
                assert await client.recv() == f"{number} {turn}"

    async def talk_all() -> None:
        await asyncio.gather(*[talk(number) for number in range(30)])

    asyncio.run(talk_all())


# Memory -------------------------------------------------------------------------------------------


def test_reading_pauses_while_client_does_not_read(serve: Any) -> None:
    pings = Frame(Opcode.PING, bytes(125)).serialize(mask=True) * 500_000
    with serve().connect() as sock:
        sock.sendall(HANDSHAKE % b"chat")
        receive_until(sock, b"\r\n\r\n")
        sock.settimeout(1.0)
        with pytest.raises(TimeoutError):
            sock.sendall(pings)


def test_compressed_messages_wait_compressed() -> None:
    deflate = zlib.compressobj(9, wbits=-15)
    messages = b""
    for _ in range(150):
        data = deflate.compress(bytes(1_000_000)) + deflate.flush(zlib.Z_SYNC_FLUSH)
        frame = Frame(Opcode.BINARY, data[:-4]).serialize(mask=True)
        messages += bytes([frame[0] | 0x40]) + frame[1:]  # RSV1: it is compressed
    with command(
        "asgi", "tcp://127.0.0.1:0", "-c", "asyncio", "-o", f"app={APP}", "--grace", "0.1"
    ) as service:
        host, port = service.wait_for_url().removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as sock:
            offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
            sock.sendall((HANDSHAKE % b"flood")[:-2] + offer)
            assert b"permessage-deflate" in receive_until(sock, b"\r\n\r\n")
            before = service.peak_memory
            sock.sendall(messages)
            sock.settimeout(1.0)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            assert service.peak_memory - before < 30_000
