"""Traits: what strategies, servers and handlers declare, and what a slip in it comes to."""

from __future__ import annotations

import asyncio
import functools
import socketserver
from typing import Any, ClassVar

import pytest

import plugport
from plugport import Component, HandlerTraits, ServerTraits, StrategyTraits
from plugport.combination import check, compose, is_strategy
from plugport.contracts import handler_traits, handler_warnings, server_traits, strategy_traits
from plugport.errors import IncompatibleError, TargetError
from plugport.plugin import PluginRecord, Registry, load_plugins
from plugport_builtins.concurrency.forking import ForkingMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.handlers.counter import CounterHandler
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer


class Blocking(plugport.BaseRequestHandler):
    pass


# Declared -------------------------------------------------------------------------------------


def test_styles_are_sets_however_they_are_given() -> None:
    traits = StrategyTraits(drives=["protocol", "async"], parallel=True)
    assert traits.drives == frozenset({"protocol", "async"})
    assert traits.parallel == frozenset({"blocking", "protocol", "async", "message"})
    assert traits.runs_in_threads("message")
    assert not StrategyTraits(parallel={"blocking"}).runs_in_threads("message")
    assert not StrategyTraits().runs_in_threads("blocking")


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"isolate_memory": True}, TypeError),
        ({"drives": "protocol"}, ValueError),
        ({"drives": {"protocoll"}}, ValueError),
        ({"drives": ()}, ValueError),
        ({"secures": {"tls"}}, ValueError),
        ({"parallel": "yes"}, ValueError),
        ({"serial": "yes"}, ValueError),
    ],
)
def test_wrong_traits_of_a_strategy_are_errors(values: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="|".join(values)):
        StrategyTraits(**values)


def test_traits_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        StrategyTraits().serial = True  # type: ignore[misc]


def test_a_subclass_has_the_traits_of_its_base() -> None:
    class Special(ForkingMixIn):
        pass

    assert strategy_traits(Special).isolates_memory
    assert compose(TCPServer, Special).strategy_traits.isolates_memory  # type: ignore[attr-defined]


def test_server_and_strategy_traits_do_not_hide_each_other() -> None:
    class Secure(TCPServer):
        traits = ServerTraits(secure=True)

    composed: Any = compose(Secure, ThreadingMixIn)
    assert composed.server_traits == server_traits(composed) == ServerTraits(secure=True)
    assert composed.strategy_traits == strategy_traits(composed) == StrategyTraits(parallel=True)


def test_classes_made_by_hand_have_their_traits() -> None:
    class Server(ForkingMixIn, UDPServer):
        pass

    assert Server.strategy_traits.isolates_memory
    assert not UDPServer.strategy_traits.isolates_memory


# Misspelt -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("isolate_memory", True, "isolates_memory=True"),
        ("isolates_memory", True, "isolates_memory=True"),
        ("share_thread", True, "shares_thread=True"),
        ("paralell", True, "parallel=True"),
        ("drive", frozenset({"protocol"}), "drives=frozenset"),
        ("serail", True, "serial=True"),
        ("multithreaded", True, "parallel=True"),
        ("styles", frozenset({"protocol"}), "drives=frozenset"),
    ],
)
def test_a_misspelt_trait_of_a_strategy_is_an_error(name: str, value: object, meant: str) -> None:
    mixin = type("SlipMixIn", (), {name: value, "process_request": lambda *_: None})
    plugins = load_plugins()
    plugins.add(_Plugin(mixin), PluginRecord("slip", "slip-dist", "1.0"))
    registry = Registry(plugins)
    for attempt in (
        lambda: compose(TCPServer, mixin),
        lambda: compose("tcp", "slip", registry),
        lambda: check("counter", "tcp", "slip", registry),
    ):
        with pytest.raises(TargetError) as error:
            attempt()
        assert f"SlipMixIn.{name} is no trait; declare traits = StrategyTraits({meant}" in str(error.value)


class _Plugin:
    def __init__(self, mixin: type) -> None:
        self._mixin = mixin

    @plugport.hookimpl
    def plugport_register_concurrency(self) -> list[Component]:
        return [Component("slip", self._mixin)]


@pytest.mark.parametrize("value", [{"serial": True}, HandlerTraits(), None])
def test_traits_of_another_kind_are_an_error(value: object) -> None:
    mixin = type("SlipMixIn", (), {"traits": value})
    for attempt in (lambda: compose(TCPServer, mixin), lambda: check(Blocking, TCPServer, mixin)):
        with pytest.raises(TargetError, match=r"SlipMixIn\.traits is .*; declare StrategyTraits\(...\)"):
            attempt()


def test_check_refuses_a_misspelt_trait_as_compose_does() -> None:
    mixin = type("SlipMixIn", (), {"isolate_memory": True})
    with pytest.raises(TargetError, match=r"SlipMixIn\.isolate_memory is no trait"):
        check(Blocking, TCPServer, mixin)


def test_a_subclass_of_a_secure_server_stays_secure() -> None:
    class Secure(TCPServer):
        traits = ServerTraits(secure=True)

    class Shared(Secure):
        traits = ServerTraits(shares_requests=True)

    assert server_traits(Shared) == ServerTraits(secure=True, shares_requests=True)


def test_a_class_may_declare_its_burst_and_has_1_with_a_get_request_of_its_own() -> None:
    class Declares(TCPServer):
        max_burst = 3

    class Overrides(TCPServer):
        def get_request(self) -> Any:
            return super().get_request()

    class Both(Overrides):
        max_burst = 5

    assert [cls.max_burst for cls in (TCPServer, Declares, Overrides, Both)] == [8, 3, 1, 5]
    assert compose(Declares, ThreadingMixIn).max_burst == 3


def test_traits_under_another_name_are_an_error() -> None:
    class SlipMixIn:
        trait = StrategyTraits(isolates_memory=True)

    with pytest.raises(TargetError, match=r"SlipMixIn.trait is not read; name it 'traits'"):
        compose(TCPServer, SlipMixIn)


def test_a_misspelt_trait_of_a_server_is_an_error() -> None:
    class Secured(TCPServer):
        secure = True

    with pytest.raises(TargetError, match=r"declare traits = ServerTraits\(secure=True\)"):
        compose(Secured, ThreadingMixIn)


def test_an_option_of_another_name_is_no_misspelt_trait() -> None:
    class OptionsMixIn(ThreadingMixIn):
        driver: str = "default"
        series: int = 3
        secret: bool = False
        serving: bool = True

    assert compose(TCPServer, OptionsMixIn)


def test_a_misspelt_trait_of_a_handler_is_a_warning() -> None:
    class Slip(plugport.BaseRequestHandler):
        share_state = True
        thread_save = True
        thorough = True

    assert handler_warnings(Slip) == [
        "Slip.share_state is no trait of handlers; did you mean 'shared_state'?",
        "Slip.thread_save is no trait of handlers; did you mean 'thread_safe'?",
    ]
    verdict = check(Slip, "tcp", "threading")
    assert verdict.legal
    assert "Slip.share_state is no trait of handlers; did you mean 'shared_state'?" in verdict.warnings


# Strategies -----------------------------------------------------------------------------------


class PlainMixIn:
    """A strategy that declares no traits."""

    def process_request(self: Any, request: Any, client_address: Any) -> None:
        self.run_request(request, client_address)


class OwnLoopMixIn:
    def serve_forever(self, poll_interval: float = 0.5) -> None:
        pass


@pytest.mark.parametrize(
    "first", [PlainMixIn, OwnLoopMixIn, ThreadingMixIn, ForkingMixIn, socketserver.ThreadingMixIn]
)
def test_two_strategies_can_not_be_composed(first: type) -> None:
    once = compose(TCPServer, first)
    for attempt in (lambda: compose(once, ThreadingMixIn), lambda: compose(once, PlainMixIn)):
        with pytest.raises(IncompatibleError, match="has a concurrency strategy already"):
            attempt()
    assert not check(Blocking, once, PlainMixIn).legal


def test_a_mix_in_of_two_strategies_is_refused_unless_it_declares_its_own_traits() -> None:
    class Both(ThreadingMixIn, ForkingMixIn):
        pass

    class Declared(ThreadingMixIn, ForkingMixIn):
        traits = StrategyTraits(parallel=True, isolates_memory=True)

    message = (
        "Both is made of two concurrency strategies, ThreadingMixIn and ForkingMixIn; derive it from one"
    )
    with pytest.raises(IncompatibleError, match=message):
        compose(TCPServer, Both)
    assert check(Blocking, TCPServer, Both).reason == message
    assert compose(TCPServer, Declared)


def test_a_class_that_schedules_nothing_is_no_strategy() -> None:
    plugins = load_plugins()
    plugins.add(_Plugin(type("Loner", (), {})), PluginRecord("slip", "slip-dist", "1.0"))
    with pytest.raises(TargetError, match="is no concurrency strategy: it declares no traits, and overrides"):
        compose("tcp", "slip", Registry(plugins))


def test_what_comes_before_a_server_and_schedules_nothing_is_no_strategy() -> None:
    class Counting:
        def verify_request(self, request: Any, client_address: Any) -> bool:
            return True

    class CountingServer(Counting, TCPServer):
        pass

    assert not is_strategy(Counting)
    assert compose(CountingServer, ThreadingMixIn)


# Servers --------------------------------------------------------------------------------------


def test_a_server_with_threads_is_refused_under_a_strategy_that_forks() -> None:
    class WithThreads(TCPServer):
        traits = ServerTraits(has_threads=True)

    refused = check(Blocking, WithThreads, "forking")
    assert not refused.legal
    assert refused.reason.startswith("the server runs threads of its own, and forking forks; ")
    assert check(Blocking, WithThreads, "threading").legal


def test_shared_state_on_a_server_that_shares_its_requests_is_a_warning() -> None:
    class Shared(TCPServer):
        traits = ServerTraits(shares_requests=True)

    (warning,) = check(CounterHandler, Shared, "threading").warnings
    assert warning == "other processes serve the same requests, each with a memory of its own"
    assert check(Blocking, Shared, "threading").warnings == ()


# Handlers -------------------------------------------------------------------------------------


def test_handlers_declare_by_class_attributes_or_by_traits() -> None:
    class Attributes(plugport.BaseRequestHandler):
        transports: ClassVar[Any] = {"stream"}
        shared_state = True

    class Traits(plugport.BaseRequestHandler):
        traits = HandlerTraits(transports={"stream"}, shared_state=True)

    assert handler_traits(Attributes) == handler_traits(Traits)
    assert handler_traits(functools.partial(Traits)) == handler_traits(Traits)
    assert not check(Traits, "udp", "threading").legal
    assert not check(Traits, "tcp", "forking").legal


def test_declared_traits_leave_the_others_to_the_base_class() -> None:
    class Lines(plugport.StreamRequestHandler):
        traits = HandlerTraits(shared_state=True)

    class Both(plugport.StreamRequestHandler):
        traits = HandlerTraits(transports={"stream", "datagram"})

    assert handler_traits(Lines).transports == {"stream"}
    assert handler_traits(Lines).shared_state
    assert handler_traits(Both).transports == {"stream", "datagram"}


def test_by_name_protocols_are_traits() -> None:
    class Handler(asyncio.Protocol):
        style = "async"

        @classmethod
        def for_request(cls, context: Any) -> Any:
            return cls()

    traits = handler_traits(Handler)
    assert traits.style == "async"
    assert traits.for_request == Handler.for_request
    assert traits.as_protocol is traits.serving is None


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"transports": "stream"}, "transports must be a set, as {'stream'}"),
        ({"transports": {"streams"}}, "transports must be of 'datagram', 'stream', not 'streams'"),
        ({"for_request": 3}, "for_request must be a class method, not 3"),
    ],
)
def test_wrong_traits_of_a_handler_are_errors(members: dict[str, Any], message: str) -> None:
    handler = type("Wrong", (plugport.BaseRequestHandler,), members)
    with pytest.raises(TargetError, match=message):
        check(handler, "tcp", "threading")
