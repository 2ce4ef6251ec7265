from __future__ import annotations

import socket
from typing import Annotated, Any

import pytest

import plugport
from plugport import Component, Help, ServerTraits, StrategyTraits
from plugport.errors import AddressError, IncompatibleError, OptionError, TargetError
from plugport.handlers import DelimiterFraming
from plugport.plugin.manager import PluginRecord, load_plugins
from plugport.plugin.registry import Registry
from plugport_builtins.servers.tcp import TCPServer
from plugport_tools.bench.exchange import Address
from plugport_tools.bench.plan import Candidate, Plan, make_plan

URL = "tcp://127.0.0.1:0"


class Strange(TCPServer):
    address_family = 12345


class Raw(TCPServer):
    socket_type = socket.SOCK_RAW


class Secure(TCPServer):
    traits = ServerTraits(secure=True)


class Elsewhere(TCPServer):
    @classmethod
    def resolve_url(cls, url: Any) -> Any:
        return ("127.0.0.1", 7), {"address_family": socket.AF_INET6}


class ServingMixIn:
    """One that declares nothing."""

    traits = StrategyTraits()

    patience: Annotated[int, Help("of this strategy alone")] = 1


class Dots(DelimiterFraming):
    dots: Annotated[int, Help("dots that end a message")] = 1

    def __init__(self, max_message_size: int, dots: int) -> None:
        super().__init__(max_message_size, b"." * dots)


class Shout(plugport.MessageHandler):
    def respond(self, message: bytes) -> bytes:
        return message.upper()


class Plugin:
    @plugport.hookimpl
    def plugport_register_framings(self) -> list[Component]:
        return [Component("dots", Dots)]

    @plugport.hookimpl
    def plugport_register_handlers(self) -> list[Component]:
        return [Component("shout", Shout)]

    @plugport.hookimpl
    def plugport_register_servers(self) -> list[Component]:
        return [
            Component("strange", Strange),
            Component("raw", Raw),
            Component("secure", Secure),
            Component("elsewhere", Elsewhere),
        ]

    @plugport.hookimpl
    def plugport_register_concurrency(self) -> list[Component]:
        return [
            Component("plain", ServingMixIn),
            Component("broken", "no_such_module:MixIn"),
            Component("lacking", ServingMixIn, unavailable="the moon is not full"),
        ]


@pytest.fixture
def registry() -> Registry:
    plugins = load_plugins()
    plugins.add(Plugin(), PluginRecord("mine", "my-dist", "1.0"))
    return Registry(plugins)


def by_name(plan: Plan) -> dict[str, Candidate]:
    return {candidate.strategy: candidate for candidate in plan.candidates}


def test_all_strategies_that_there_are(registry: Registry) -> None:
    plan = make_plan(registry, "counter", URL)
    names = [entry.selector for entry in registry.entries("concurrency")]
    assert [candidate.strategy for candidate in plan.candidates] == names
    found = by_name(plan)
    assert "keeps state in memory" in found["forking"].refusal
    assert "no module named 'no_such_module'" in found["broken"].refusal
    assert "the moon is not full" in found["lacking"].refusal
    assert [each.strategy for each in plan.legal] == [
        name for name in names if name not in ("forking", "broken", "lacking")
    ]


def test_some_of_them_each_once_and_in_that_order(registry: Registry) -> None:
    plan = make_plan(registry, "echo", URL, ["select", "plain", "select"])
    assert [candidate.strategy for candidate in plan.candidates] == ["select", "plain"]


def test_what_is_asked_for_by_name_must_be_there(registry: Registry) -> None:
    with pytest.raises(TargetError, match="no_such_module"):
        make_plan(registry, "echo", URL, ["select", "broken"])


def test_a_handler_that_can_not_be_loaded_is_nobody_else_s_fault(registry: Registry) -> None:
    with pytest.raises(TargetError, match="has no attribute 'Nothing'"):
        make_plan(registry, "json:Nothing", URL)


def test_when_all_are_refused_each_reason_is_told_once(registry: Registry) -> None:
    with pytest.raises(IncompatibleError) as caught:
        make_plan(registry, "socketserver:DatagramRequestHandler", URL, ["select", "sync"])
    assert str(caught.value) == (
        "socketserver:DatagramRequestHandler can't be served by tcp under any of these strategies: "
        "select, sync: a datagram handler can't serve a stream server; use a datagram server"
    )


# Options --------------------------------------------------------------------------------------


def test_options_go_to_the_strategies_that_have_them(registry: Registry) -> None:
    texts = ["max_workers=3", "concurrency.patience=2", "server.request_queue_size=9"]
    found = by_name(make_plan(registry, "echo", URL, ["thread-pool", "asyncio", "plain", "sync"], texts))
    workers, patience, queue = texts
    assert found["thread-pool"].options == found["asyncio"].options == (workers, queue)
    assert found["thread-pool"].unknown_options == (patience,)
    assert (found["plain"].options, found["plain"].unknown_options) == ((patience, queue), (workers,))
    assert (found["sync"].options, found["sync"].unknown_options) == ((queue,), (workers, patience))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_wokers=3", "no option 'max_wokers'"),
        ("max_workers=many", "expected int > 0, got 'many'"),
        ("max_workers", "not KEY=VALUE"),
        ("loop_factory=nowhere:at_all", "loop_factory: no module named 'nowhere'"),
        ("loop_factory=math:sqrt", "loop_factory: 'math:sqrt' makes no event loop: TypeError: "),
        ("loop_factory=math:pi", "loop_factory: 'math:pi' makes no event loop: TypeError: 'float' object"),
        ("loop_factory=os:getcwd", "loop_factory: 'os:getcwd' makes no event loop: it returns '"),
    ],
)
def test_options_that_are_wrong(registry: Registry, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make_plan(registry, "echo", URL, ["thread-pool", "asyncio"], [text])


def test_an_option_that_only_a_refused_strategy_has_is_unknown(registry: Registry) -> None:
    with pytest.raises(OptionError, match="no option 'max_children'"):
        make_plan(registry, "counter", URL, ["forking", "select"], ["max_children=3"])


# What speaks against a strategy ---------------------------------------------------------------


def test_caveats_follow_from_what_strategies_declare(registry: Registry) -> None:
    stream = by_name(make_plan(registry, "echo", URL))
    datagram = by_name(make_plan(registry, "echo", "udp://127.0.0.1:0"))
    assert stream["sync"].caveats[0].startswith("one slow client makes the service deaf to all others;")
    assert datagram["sync"].caveats == ("one request that takes long holds up all others",)
    assert stream["select"].caveats[0].startswith("a single thread:")
    assert stream["forking"].caveats == ("what a handler changes in memory is gone with its process",)
    assert stream["threading"].caveats == ()
    # Whether asyncio has threads depends on the style of the handler.
    assert stream["asyncio"].caveats == ()
    found = by_name(make_plan(registry, "asyncio:Protocol", URL, ["asyncio"]))
    assert found["asyncio"].caveats[0].startswith("a single thread:")


def test_who_is_serial(registry: Registry) -> None:
    plan = make_plan(registry, "echo", URL)
    assert [candidate.strategy for candidate in plan.candidates if candidate.serial] == ["sync"]


# Addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "announced", "address"),
    [
        (URL, "tcp://127.0.0.1:7", Address(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 7))),
        (URL, "tcp://0.0.0.0:7", Address(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 7))),
        (URL, "tcp://[::]:7", Address(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 7, 0, 0))),
        ("udp://:0", "udp://[::1]:7", Address(socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 7, 0, 0))),
        ("unix://@x", "unix://@x", Address(socket.AF_UNIX, socket.SOCK_STREAM, "\0x")),
        ("unixgram://x", "unixgram:///tmp/x", Address(socket.AF_UNIX, socket.SOCK_DGRAM, "/tmp/x")),
        ("elsewhere://x", "elsewhere://y", Address(socket.AF_INET6, socket.SOCK_STREAM, ("127.0.0.1", 7))),
    ],
)
def test_where_clients_find_the_service(
    registry: Registry, url: str, announced: str, address: Address
) -> None:
    plan = make_plan(registry, "echo", url, ["threading"])
    assert plan.legal[0].address_of(announced) == address
    assert plan.is_stream == address.is_stream


@pytest.mark.parametrize("scheme", ["strange", "raw", "secure"])
def test_a_server_that_there_are_no_clients_for(registry: Registry, scheme: str) -> None:
    with pytest.raises(AddressError, match=f"has no clients for {scheme} servers"):
        make_plan(registry, "echo", f"{scheme}://127.0.0.1:0")


@pytest.mark.parametrize("url", ["127.0.0.1:0", "tcp://127.0.0.1", "unix://"])
def test_urls_that_make_no_sense(registry: Registry, url: str) -> None:
    with pytest.raises(AddressError):
        make_plan(registry, "echo", url)


def test_a_framing_and_its_options_are_for_every_strategy(registry: Registry) -> None:
    plan = make_plan(registry, "shout", URL, ["sync", "threading"], ["framing=dots", "dots=2"])
    assert [candidate.options for candidate in plan.legal] == [("framing=dots", "dots=2")] * 2
    with pytest.raises(OptionError, match="no option 'dots'"):
        make_plan(registry, "shout", URL, ["sync"], ["dots=2"])
    with pytest.raises(OptionError, match="no framing named 'morse'"):
        make_plan(registry, "shout", URL, ["sync"], ["framing=morse"])
