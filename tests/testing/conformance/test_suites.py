"""What a suite consists of, by the traits of what it is for; and what it needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from plugport.errors import UnknownNameError
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer
from plugport_testing.conformance import (
    Conformance,
    DatagramConformance,
    HandlerConformance,
    ServerConformance,
    StrategyConformance,
    StreamConformance,
)


def test_cases_of_a_serial_strategy() -> None:
    class Serial(StreamConformance):
        strategy = SyncMixIn
        server = TCPServer

    names = {name for name, _ in Serial.cases()}
    assert "test_echo" in names
    assert not names & {"test_max_active_requests", "test_blocking_handler_delays_no_other"}
    assert Serial.test_max_active_requests is None


def test_styles_of_a_case() -> None:
    class Threaded(StreamConformance):
        strategy = ThreadingMixIn
        server = TCPServer

    cases = list(Threaded.cases())
    styles = [("blocking",), ("protocol",), ("async",), ("message",)]
    assert [arguments for name, arguments in cases if name == "test_echo"] == styles
    assert [arguments for name, arguments in cases if name == "test_server_closes_early"] == styles[:-1]


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_core_and_conformance_import_no_pytest() -> None:
    code = "import plugport.cli, plugport.serving.service, sys; print('plugport_testing' in sys.modules)"
    assert run_python(code) == "False"
    code = "import plugport_testing.conformance, sys; print('pytest' in sys.modules)"
    assert run_python(code) == "False"


def test_components_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from plugport_testing import serving

    components: dict[tuple[str, str], Callable[..., Any]] = {
        ("server", "tcp"): TCPServer,
        ("concurrency", "sound"): ThreadingMixIn,
    }

    class Registry:
        def get(self, kind: str, name: str) -> Any:
            return components[kind, name]

    monkeypatch.setattr(serving, "default_registry", Registry)

    class Named(StreamConformance):
        strategy = "sound"

    Named().test_echo("blocking")


def test_a_suite_for_a_strategy_has_one_of_streams_and_one_of_datagrams() -> None:
    class Both(StrategyConformance):
        strategy = ThreadingMixIn
        patience = 3.0
        client_count = 7

        def connect(self, server: Any) -> Any:
            return "connected"

    streams, datagrams = Both.suites()
    assert issubclass(streams, StreamConformance)
    assert issubclass(datagrams, DatagramConformance)
    assert (streams.__qualname__, streams.__module__) == (f"{Both.__qualname__}.TestStreams", __name__)
    assert vars(Both)["TestStreams"] is streams
    assert (streams.patience, datagrams.patience) == (3.0, 3.0)
    assert vars(streams)["client_count"] == 7
    assert "client_count" not in vars(datagrams)
    assert streams().connect(None) == "connected"
    assert {name for name, _ in datagrams.cases()} >= {"test_echo", "test_burst"}

    class Derived(Both):
        client_count = 8

    assert vars(next(Derived.suites()))["client_count"] == 8
    assert next(Derived.suites()).patience == 3.0


def test_cases_of_a_server() -> None:
    class Streams(ServerConformance):
        server = "tcp"

    class Datagrams(ServerConformance):
        server = "unixgram"
        strategies = ("sync", ThreadingMixIn)

    streams, datagrams = ({name for name, _ in suite.cases()} for suite in (Streams, Datagrams))
    assert streams - datagrams >= {"test_get_request", "test_drain", "test_allow_reuse_port"}
    assert datagrams - streams >= {"test_get_datagram", "test_socket_file", "test_max_packet_size"}
    cases = list(Streams.cases())
    assert ("test_address", ()) in cases
    assert [strategy for name, strategy in cases if name == "test_serves"] == [
        ("sync",),
        ("threading",),
        ("select",),
    ]
    assert [strategy for name, strategy in cases if name == "test_drain"] == [("threading",), ("select",)]
    assert ("test_serves", ("ThreadingMixIn",)) in list(Datagrams.cases())


def test_cases_of_a_handler() -> None:
    class Counter(HandlerConformance):
        handler = "counter"
        exchange = (b"", b"")

    class Stream(HandlerConformance):
        handler = "exec"
        exchange = (b"", b"")

    cases = list(Counter.cases())
    served = [combination for name, (combination,) in cases if name == "test_exchange"]
    assert {"tcp-sync", "udp-sync", "udp-asyncio"} <= set(served)
    assert not [name for name in served if name.endswith("-forking")]
    assert ("test_any_split", ("tcp-select",)) in cases
    assert ("test_any_split", ("udp-select",)) not in cases
    assert ("test_many_at_once", ("tcp-sync",)) not in cases
    assert not [name for name, (combination,) in Stream.cases() if combination.startswith("udp")]
    assert Stream.test_unexpected_datagrams is None


def test_unknown_name_is_an_error_of_the_class() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'threading'"):
        type("Slip", (StrategyConformance,), {"strategy": "threadin"})
    with pytest.raises(UnknownNameError, match="did you mean 'tcp'"):
        type("Slip", (ServerConformance,), {"server": "tpc"})
    with pytest.raises(UnknownNameError, match="did you mean 'echo'"):
        type("Slip", (HandlerConformance,), {"handler": "ehco", "exchange": (b"", b"")})


class _Metafunc:
    """The part of pytest.Metafunc that a suite reads before it looks up its values."""

    fixturenames: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("suite", "attributes", "message"),
    [
        (
            HandlerConformance,
            {},
            "Slip does not set 'handler'; add handler = \"NAME\", a class or a function",
        ),
        (
            HandlerConformance,
            {"handlr": "echo"},
            r"Slip does not set 'handler' \(is 'handlr' a misspelt 'handler'\?\)",
        ),
        (ServerConformance, {}, "Slip does not set 'server'; add server = \"NAME\" or a server class"),
        (
            ServerConformance,
            {"sever": "tcp"},
            r"Slip does not set 'server' \(is 'sever' a misspelt 'server'\?\)",
        ),
        (StreamConformance, {}, "Slip does not set 'strategy'; add strategy = \"NAME\" or a mix-in class"),
        (DatagramConformance, {"stratgy": "sync"}, r"Slip does not set 'strategy' \(is 'stratgy' a misspelt"),
    ],
)
def test_suite_without_its_subject_says_so(
    suite: type[Conformance], attributes: dict[str, Any], message: str
) -> None:
    slip = type("Slip", (suite,), attributes)
    with pytest.raises(TypeError, match=message):
        slip().pytest_generate_tests(_Metafunc())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=message):
        list(slip.cases())


@pytest.mark.parametrize("attributes", [{}, {"stratgy": "sync"}])
def test_strategy_suite_without_a_strategy_says_so(attributes: dict[str, Any]) -> None:
    slip: Any = type("Slip", (StrategyConformance,), attributes)
    message = "Slip does not set 'strategy'"
    with pytest.raises(TypeError, match=message):
        list(slip.suites())
    with pytest.raises(TypeError, match=message):
        slip.TestStreams().pytest_generate_tests(_Metafunc())
    # pytest reports it once.
    assert not hasattr(slip, "TestDatagrams")

    class Derived(slip):  # type: ignore[misc]
        strategy = ThreadingMixIn

    streams, datagrams = Derived.suites()
    assert "test_echo" in {name for name, _ in streams.cases()}
    assert "test_burst" in {name for name, _ in datagrams.cases()}


@pytest.mark.parametrize("members", [{}, {"exchanges": (b"a", b"a")}, {"datagram_exchange": (b"a", b"a")}])
def test_handler_suite_without_an_exchange_says_so(members: dict[str, Any]) -> None:
    with pytest.raises(
        TypeError, match=r"Slip does not set 'exchange'.*; add exchange = \(b\"question\", "
    ) as told:
        type("Slip", (HandlerConformance,), {"handler": "echo", **members})
    assert ("is 'exchanges' a misspelt 'exchange'?" in str(told.value)) == ("exchanges" in members)


def test_custom_suite_without_a_subject_says_so() -> None:
    slip = type("Slip", (Conformance,), {})
    with pytest.raises(TypeError, match="Slip does not set 'subject'"):
        list(slip.cases())
