from __future__ import annotations

import asyncio
import functools
import http.server
import socketserver
import sys
from typing import Any

import pytest
from fakes import SitePackages

import plugport
from plugport.combination.verdicts import Verdict, check, compose, matrix
from plugport.contracts.traits import StrategyTraits, strategy_traits
from plugport.errors import IncompatibleError, UnknownNameError
from plugport.handlers.styles import style_of, transports_of
from plugport.plugin.manager import load_plugins
from plugport.plugin.registry import Registry
from plugport.serving.running import Serving
from plugport_builtins.concurrency.forking import ForkingMixIn
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer


class Any_(plugport.BaseRequestHandler):
    pass


class Stateful(plugport.BaseRequestHandler):
    shared_state = True


class Guarded(Stateful):
    thread_safe = True


class Protocol(asyncio.Protocol):
    pass


class MixInOfProtocols:
    traits = StrategyTraits(drives={"protocol"})


async def coroutine(reader: Any, writer: Any) -> None: ...


def function(message: bytes) -> bytes | None:
    return message


# compose() ------------------------------------------------------------------------------------


def test_compose_is_a_class_statement() -> None:
    composed = compose("udp", "threading")
    assert composed.__name__ == "ThreadingUDPServer"
    assert composed.__bases__ == (ThreadingMixIn, UDPServer)
    assert composed.__module__ == UDPServer.__module__
    assert plugport.compose is compose


def test_compose_takes_classes() -> None:
    assert compose(TCPServer, ForkingMixIn).__mro__[:2][1] is ForkingMixIn


def test_a_server_of_the_standard_library_is_adopted() -> None:
    composed = compose(http.server.HTTPServer, "threading")
    assert composed.__name__ == "ThreadingHTTPServer"
    assert issubclass(composed, Serving)
    assert issubclass(composed, http.server.HTTPServer)


@pytest.mark.parametrize(
    ("server", "plain"),
    [
        (http.server.ThreadingHTTPServer, "http.server:HTTPServer"),
        (socketserver.ThreadingUDPServer, "socketserver:UDPServer"),
        (type("Mine", (ThreadingMixIn, TCPServer), {}), "plugport_builtins.servers.tcp:TCPServer"),
    ],
)
def test_a_server_that_has_a_strategy_is_refused(server: type, plain: str) -> None:
    with pytest.raises(
        IncompatibleError, match=f"has a concurrency strategy already, ThreadingMixIn; use {plain}"
    ):
        compose(server, "sync")
    verdict = check(Any_, server, SyncMixIn)
    assert not verdict.legal
    assert plain in verdict.reason


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="no server named 'udq'; did you mean 'udp'"):
        compose("udq", "threading")


# Styles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "style"),
    [
        (Any_, "blocking"),
        (functools.partial(http.server.SimpleHTTPRequestHandler, directory="/"), "blocking"),
        (socketserver.DatagramRequestHandler, "blocking"),
        (Protocol, "protocol"),
        (asyncio.DatagramProtocol, "protocol"),
        (coroutine, "async"),
        (type("A", (), {"style": "async"}), "async"),
        (function, "message"),
        (functools.partial(function), "message"),
        (bytes.upper, "message"),
    ],
)
def test_styles(handler: Any, style: str) -> None:
    assert style_of(handler) == style


@pytest.mark.parametrize(
    ("handler", "transports"),
    [
        (Any_, {"stream", "datagram"}),
        (plugport.StreamRequestHandler, {"stream"}),
        (socketserver.StreamRequestHandler, {"stream"}),
        (functools.partial(http.server.SimpleHTTPRequestHandler), {"stream"}),
        (socketserver.DatagramRequestHandler, {"datagram"}),
        (socketserver.BaseRequestHandler, {"stream", "datagram"}),
        (Protocol, {"stream"}),
        (asyncio.DatagramProtocol, {"datagram"}),
        (function, {"stream", "datagram"}),
    ],
)
def test_transports(handler: Any, transports: set[str]) -> None:
    assert transports_of(handler) == transports


def test_traits_of_the_standard_mix_ins() -> None:
    assert strategy_traits(socketserver.ThreadingMixIn) == StrategyTraits(parallel=True)
    assert strategy_traits(socketserver.ForkingMixIn) == StrategyTraits(isolates_memory=True)
    traits = strategy_traits(object)
    assert traits.drives == {"blocking"}
    assert not traits.isolates_memory
    assert not traits.parallel
    assert not traits.shares_thread
    assert not traits.serial


# check() --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixin", [ThreadingMixIn, ForkingMixIn])
@pytest.mark.parametrize("server", [TCPServer, UDPServer])
def test_what_asks_for_nothing_is_legal(server: type, mixin: type) -> None:
    assert check(Any_, server, mixin) == Verdict("legal")


@pytest.mark.parametrize(
    ("handler", "server", "wanted"),
    [
        (plugport.StreamRequestHandler, UDPServer, "stream"),
        (plugport.DatagramRequestHandler, TCPServer, "datagram"),
        (http.server.SimpleHTTPRequestHandler, UDPServer, "stream"),
        (socketserver.DatagramRequestHandler, http.server.HTTPServer, "datagram"),
    ],
)
def test_the_transport_must_fit(handler: type, server: type, wanted: str) -> None:
    verdict = check(handler, server, ThreadingMixIn)
    assert verdict.verdict == "refused"
    assert f"a {wanted} handler can't serve a" in verdict.reason


def test_shared_state_in_isolated_memory_is_refused() -> None:
    reason = check(Guarded, "tcp", "forking").reason
    assert "keeps state in memory, and forking gives each request a copy" in reason
    assert "sync or threading" in reason or "sync, threading" in reason
    assert "forking would" not in reason


def test_shared_state_under_threads_must_be_guarded() -> None:
    assert check(Guarded, "tcp", "threading").legal
    verdict = check(Stateful, "tcp", "threading")
    assert not verdict.legal
    assert "does not declare thread_safe" in verdict.reason
    assert "sync" in verdict.reason.partition("; ")[2]


def test_a_serial_strategy_is_deaf_on_streams_alone() -> None:
    verdict = check(Any_, "tcp", "sync")
    assert verdict.legal
    (warning,) = verdict.warnings
    assert "deaf" in warning
    assert "threading" in warning
    assert check(Any_, "udp", "sync").warnings == ()


def test_a_warning_imports_no_strategy_of_others(site: SitePackages) -> None:
    """The service goes on after it, and imports do things to a process that are for those who use them."""
    site.add(
        "costly",
        """
    @plugport.hookimpl
    def plugport_register_concurrency():
        yield plugport.Component("costly", "this:Strategy")
    """,
    )
    registry = Registry(load_plugins())
    (warning,) = check(Any_, "tcp", "sync", registry).warnings
    assert "threading" in warning
    assert "this" not in sys.modules


def test_a_style_without_a_bridge_is_refused() -> None:
    verdict = check(coroutine, "tcp", MixInOfProtocols)
    assert not verdict.legal
    assert "an async handler needs an event loop" in verdict.reason


def test_a_bridge_makes_it_legal() -> None:
    assert check(function, "tcp", MixInOfProtocols).bridge == "message -> protocol"
    assert check(Protocol, "tcp", MixInOfProtocols).bridge is None
    assert check(function, "tcp", "threading").bridge == "message -> blocking"


def test_a_handler_that_needs_a_thread_can_t_live_in_a_loop() -> None:
    class Waits(Any_):
        needs_thread = True

    verdict = check(Waits, "tcp", "select")
    assert not verdict.legal
    assert "hold up the loop of select" in verdict.reason
    assert "threading" in verdict.reason
    assert check(Waits, "tcp", "asyncio").legal


def test_the_unavailable_is_refused(site: SitePackages) -> None:
    site.add(
        "windy",
        """
    @plugport.hookimpl
    def plugport_register_servers():
        yield plugport.Component("windy", "a:b", unavailable="needs a sail")
    """,
    )
    registry = Registry(load_plugins())
    verdict = check(Any_, "windy", "sync", registry)
    assert verdict == Verdict("refused", "server 'windy' is unavailable: needs a sail")


def test_the_matrix_has_every_combination(site: SitePackages) -> None:
    site.add(
        "other",
        """
    @plugport.hookimpl
    def plugport_register_handlers():
        yield plugport.Component("echo", "no_such_module_here:Handler")
    """,
    )
    registry = Registry(load_plugins())
    rows = list(matrix(registry))
    counts = [len(list(registry.entries(kind))) for kind in ("handler", "server", "concurrency")]
    assert len(rows) == len({row[:3] for row in rows}) == counts[0] * counts[1] * counts[2]
    broken = [row for row in rows if row.handler == "other:echo"]
    assert len(broken) == counts[1] * counts[2]
    assert all("no module named 'no_such_module_here'" in row.verdict.reason for row in broken)


# One thread for all requests ------------------------------------------------------------------


class TakesTurns:
    """Runs blocking requests in one thread, switched where they wait, as a strategy of greenlets would."""

    traits = StrategyTraits(shares_thread=True)


class NeedsThread(plugport.BaseRequestHandler):
    needs_thread = True


def test_nothing_may_hold_a_thread_that_is_shared() -> None:
    verdict = check(coroutine, TCPServer, TakesTurns)
    assert verdict.reason.startswith("an async handler needs an event loop, and TakesTurns has none; ")
    reason = check(NeedsThread, TCPServer, TakesTurns).reason
    assert reason.startswith("the handler waits for more than its connection, and would hold up the loop of ")
    for name, bridge in ((Any_, None), (Protocol, "protocol -> blocking"), (function, "message -> blocking")):
        assert check(name, TCPServer, TakesTurns) == Verdict("legal", bridge=bridge)
    assert check(Stateful, TCPServer, TakesTurns).legal


def test_a_server_in_code_is_held_to_it_too() -> None:
    server: Any = compose(TCPServer, TakesTurns)(("127.0.0.1", 0), coroutine)
    with server, pytest.raises(IncompatibleError, match="no bridge leads from async to blocking"):
        server.adapt_handler("async")
