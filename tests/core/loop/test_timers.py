"""Timers: calls to come, in every loop that a protocol may live in."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from patience import PATIENCE, wait_until

from plugport.bridges.pump import ConnectionLoop
from plugport.contracts.requests import RequestContext
from plugport.loop.timers import Timers
from plugport.transports import call_later
from plugport_testing.plugin import Serve


class Ticks(asyncio.Protocol):
    """Sends a tick when its time has come; ends when a second one has."""

    def connection_made(self, transport: Any) -> None:
        call_later(transport, 60, transport.abort)
        call_later(transport, 0.0, transport.abort).cancel()
        call_later(transport, 0.01, lambda: transport.write(b"tick "))
        call_later(transport, 0.02, self.end)
        self.transport = transport

    def end(self) -> None:
        self.transport.write(b"tock")
        self.transport.close()


@pytest.mark.parametrize("strategy", ["sync", "threading", "thread-pool", "forking", "select", "asyncio"])
@pytest.mark.parametrize("idle_timeout", [None, 30.0])
def test_a_protocol_has_timers_under_every_strategy(
    strategy: str, idle_timeout: float | None, plugport_serve: Serve
) -> None:
    served = plugport_serve(Ticks, concurrency=strategy, idle_timeout=idle_timeout)
    with served.connect() as client:
        received = b""
        while data := client.recv(100):
            received += data
    assert received == b"tick tock"


class Fails(asyncio.Protocol):
    """Its timer raises, if the client wants it; else it sends back what comes."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if data == b"fail":
            call_later(self.transport, 0.01, self.fail)
        elif data == b"soon":
            self.transport.call_soon(self.fail)
        else:
            self.transport.write(data)

    def fail(self) -> None:
        raise RuntimeError("a bug of the protocol's")


@pytest.mark.parametrize("strategy", ["threading", "select"])
@pytest.mark.parametrize("how", [b"fail", b"soon"])
def test_what_a_timer_raises_ends_its_connection_alone(
    strategy: str, how: bytes, plugport_serve: Serve
) -> None:
    served = plugport_serve(Fails, concurrency=strategy)
    with served.connect() as other, served.connect() as client:
        client.sendall(how)
        assert client.recv(1) == b""
        assert served.wait_for_event("request_finished")["context"].outcome == "failed"
        other.sendall(b"hello")
        assert other.recv(5) == b"hello"


class Waits(asyncio.Protocol):
    """Does nothing, but has a timer that comes now and then."""

    ticks = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.tick()

    def tick(self) -> None:
        self.ticks += 1
        call_later(self.transport, 0.01, self.tick)


def test_timers_do_not_keep_a_pump_from_giving_up() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.1)
    protocol = Waits()
    context = RequestContext(SimpleNamespace(handler_name="test"), ours, None)
    with ours, theirs, pytest.raises(TimeoutError):
        ConnectionLoop().run(ours, protocol, context)
    assert protocol.ticks > 2


def test_timers_come_in_their_order_and_cancelled_ones_do_not() -> None:
    timers, calls = Timers(), []
    for name, seconds in (("late", 0.002), ("soon", 0.0), ("sooner", -1.0)):
        timers.call_later(seconds, lambda name=name: calls.append(name))  # type: ignore[misc]
    for _ in range(200):
        timers.call_later(0.0, lambda: calls.append("cancelled")).cancel()
    timers.call_later(1000.0, lambda: calls.append("never"))
    wait_until(lambda: timers.run_timers(None) and "late" in calls)
    assert calls == ["sooner", "soon", "late"]
    assert timers.run_timers(5.0) == 5.0
    assert 0 < timers.run_timers(None) <= 1000.0  # type: ignore[operator]
    assert Timers().run_timers(None) is None


class Knows(asyncio.Protocol):
    """Tells the client what it knows of its connection."""

    made_for: ClassVar[list[RequestContext]] = []

    @classmethod
    def for_request(cls, context: RequestContext) -> Knows:
        self = cls()
        cls.made_for.append(context)
        self.context = context
        return self

    def connection_made(self, transport: Any) -> None:
        transport.write(f"{self.context.client_address} {self.context.server.scheme}".encode())
        transport.close()


@pytest.mark.parametrize("strategy", ["sync", "threading", "forking", "select", "asyncio"])
def test_a_protocol_is_made_for_its_request(strategy: str, plugport_serve: Serve) -> None:
    served = plugport_serve(Knows, concurrency=strategy)
    with served.connect() as client:
        client.settimeout(PATIENCE)
        assert client.recv(1000) == f"{client.getsockname()} tcp".encode()
