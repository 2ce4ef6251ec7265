"""Scripted protocols on a connection, driven by asyncio's transport or plugport's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from clients import Client
from patience import PATIENCE, Call, wait_until

from plugport.contracts.requests import RequestContext
from plugport.loop.loop import ServerLoop
from plugport.transports import StreamTransport

LARGE = bytes(range(256)) * 16384


class Script(asyncio.Protocol):
    """Notes what is called: ``calls``, pairs of a method's name and its argument."""

    transport: Any

    def __init__(self, made: Callable[[Any], Any] | None = None) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._made = made
        self.lost = threading.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.calls.append(("made", None))
        if self._made is not None:
            self._made(transport)

    def data_received(self, data: bytes) -> None:
        self.calls.append(("data", data))

    def eof_received(self) -> bool | None:
        self.calls.append(("eof", None))
        return None

    def pause_writing(self) -> None:
        self.calls.append(("pause", None))

    def resume_writing(self) -> None:
        self.calls.append(("resume", None))

    def connection_lost(self, error: Exception | None) -> None:
        self.calls.append(("lost", error))
        self.lost.set()

    @property
    def names(self) -> list[str]:
        """The names of what was called."""
        return [name for name, _ in self.calls]

    @property
    def received(self) -> bytes:
        """The bytes that came."""
        return b"".join(argument for name, argument in self.calls if name == "data")


class Session:
    """A protocol that runs in a thread, and its peer."""

    def __init__(self, protocol: Any, peer: Client, call: Call, in_loop: Callable[..., Any]) -> None:
        self.protocol = protocol
        self.peer = peer
        self._call = call
        self._in_loop = in_loop

    def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call in the thread of the transport, and return what that returns or raises."""
        outcome: list[tuple[Any, BaseException | None]] = []

        def call() -> None:
            try:
                outcome.append((function(*arguments), None))
            except BaseException as error:
                outcome.append((None, error))

        self._in_loop(call)
        [(value, error)] = wait_until(lambda: outcome, what="a call in the loop")
        if error is not None:
            raise error
        return value

    def ended(self) -> list[str]:
        """Wait for the end of the connection; return what was called."""
        assert self.protocol.lost.wait(PATIENCE)
        self._call.join(PATIENCE)
        assert not self._call.is_alive()
        return self.protocol.names

    def abort(self) -> None:
        """End it, if it has not ended."""
        if not self.protocol.lost.is_set():
            wait_until(lambda: self.protocol.names, what="connection_made()")
            self._in_loop(self.protocol.transport.abort)
        self.peer.close()
        self._call.result()


def run_asyncio(sock: Any, protocol: Any) -> tuple[Call, Callable[..., Any]]:
    loop = asyncio.new_event_loop()

    async def main() -> None:
        loop.set_exception_handler(lambda loop, context: None)
        await loop.connect_accepted_socket(lambda: protocol, sock)
        while not protocol.lost.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    return Call(run), loop.call_soon_threadsafe


class Owner:
    """Closes the socket when the transport is lost."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.errors: list[Exception] = []
        self.lost = 0

    def transport_failed(self, transport: Any, error: Exception) -> None:
        self.errors.append(error)

    def transport_lost(self, transport: Any) -> None:
        self.lost += 1
        self.sock.close()


def context_of(sock: Any) -> RequestContext:
    return RequestContext(SimpleNamespace(handler_name="script"), sock, sock.getpeername())


def run_plugport(sock: Any, protocol: Any) -> tuple[Call, Callable[..., Any]]:
    loop = ServerLoop()
    owner = Owner(sock)
    pending: list[Callable[..., Any]] = []

    def in_loop(function: Callable[..., Any]) -> None:
        pending.append(function)
        loop.wake()

    def run() -> None:
        sock.setblocking(False)
        StreamTransport(loop, sock, protocol, owner, context_of(sock)).start()
        while not owner.lost:
            loop.poll(0.01)
            while pending:
                pending.pop(0)()
        loop.close()
        assert owner.lost == 1

    return Call(run), in_loop


RUNNERS = {"asyncio": run_asyncio, "plugport": run_plugport}

Start = Callable[..., Session]


def read_exactly(peer: Client, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (more := peer.recv(count - len(data))):
        data += more
    return bytes(data)


def seen(protocol: Any, name: str, count: int = 1) -> None:
    wait_until(lambda: protocol.names.count(name) >= count, what=f"{count} x {name}")
