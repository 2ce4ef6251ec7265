"""The plugin in services: which requests are rejected, and with what reason, under every strategy."""

import logging
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plugport.plugin.manager import PluginRecord, Plugins
from plugport_testing.clients import ClientSocket
from plugport_testing.plugin import Serve
from plugport_testing.waiting import wait_until

from plugport_access import plugin
from plugport_access.access import DENIED, NOT_ALLOWED, TOO_MANY, TOO_OFTEN

STRATEGIES = ["sync", "threading", "thread-pool", "forking", "select", "asyncio"]
#: Those under which several connections are served at once.
MANY_AT_ONCE = [name for name in STRATEGIES if name != "sync"]


class Served:
    """A service with the plugin, and clients that come from addresses of their own."""

    def __init__(self, served: Any) -> None:
        self.served = served
        self.clients: list[socket.socket] = []

    def come(self, source: str = "127.0.0.1") -> socket.socket:
        """Return a client's connected socket."""
        server = self.served.server
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        client = ClientSocket(
            family, server.socket_type
        )  # children have copies of it: close() ends it for all
        self.clients.append(client)
        client.settimeout(10)
        client.bind((source, 0))
        client.connect((source if ":" in source else "127.0.0.1", server.server_address[1]))
        return client

    def is_served(self, client: socket.socket) -> bool:
        """Whether *client* gets its line back, and not the end of its connection."""
        try:
            client.sendall(b"hello\n")
            return client.recv(100) == b"hello\n"
        except ConnectionError:
            return False

    def reasons(self, count: int) -> list[str]:
        """The reasons of the rejections, once there are so many."""
        self.served.wait_for_event("request_rejected", count=count)
        return [event.arguments["reason"] for event in self.served.events if event.hook == "request_rejected"]


@pytest.fixture
def serve(plugport_serve: Serve) -> Iterator[Any]:
    """serve(url, strategy, **options) returns an echo service; the options are the plugin's.

    Its clients are gone before it is stopped.
    """
    clients = []

    def start(url: str = "tcp", strategy: str = "threading", **options: Any) -> Served:
        prefixed = {f"access.{name}": value for name, value in options.items()}
        found = Served(plugport_serve("echo", url, strategy, plugins=["access"], **prefixed))
        clients.append(found.clients)
        return found

    yield start
    for each in clients:
        for client in each:
            client.close()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_who_is_denied_is_turned_away(serve: Any, strategy: str) -> None:
    service = serve("tcp", strategy, deny=["127.0.0.2/31"])
    assert not service.is_served(service.come("127.0.0.3"))
    assert service.reasons(1) == [DENIED]
    assert service.is_served(service.come("127.0.0.1"))


def test_who_is_not_allowed_is_turned_away(serve: Any) -> None:
    service = serve(allow=["127.0.0.0/30", "2001:db8::/32"], deny=["127.0.0.2"])
    assert service.is_served(service.come("127.0.0.1"))
    assert not service.is_served(service.come("127.0.0.2"))
    assert not service.is_served(service.come("127.0.0.9"))
    assert service.reasons(2) == [DENIED, NOT_ALLOWED]


def test_an_ipv4_address_is_one_on_a_socket_for_both(serve: Any) -> None:
    service = serve("tcp://[::]:0", allow=["127.0.0.1"])
    assert service.is_served(service.come("127.0.0.1"))
    assert not service.is_served(service.come("::1"))
    assert service.reasons(1) == [NOT_ALLOWED]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_datagrams_are_turned_away(serve: Any, strategy: str) -> None:
    service = serve("udp", strategy, deny=["127.0.0.2"], rate=0.001, burst=2)
    friend, foe = service.come("127.0.0.1"), service.come("127.0.0.2")
    foe.send(b"hello\n")
    assert service.reasons(1) == [DENIED]
    assert service.is_served(friend)
    assert service.is_served(friend)
    friend.send(b"hello\n")
    assert service.reasons(2) == [DENIED, TOO_OFTEN]


@pytest.mark.parametrize("url", ["unix", "unixgram"])
def test_who_has_no_address_passes(plugport_serve: Serve, url: str) -> None:
    limits = {
        "access.allow": ["192.0.2.1"],
        "access.rate": 0.001,
        "access.burst": 1,
        "access.max_per_peer": 1,
    }
    served = plugport_serve("echo", url, plugins=["access"], **limits)
    for _ in range(3):
        assert served.exchange(b"hello") == b"hello"


@pytest.mark.parametrize("strategy", MANY_AT_ONCE)
def test_a_peer_has_so_many_connections_at_once(serve: Any, strategy: str) -> None:
    service = serve("tcp", strategy, max_per_peer=2)
    first, second = service.come(), service.come()
    assert service.is_served(first)
    assert service.is_served(second)
    assert not service.is_served(service.come())
    assert service.reasons(1) == [TOO_MANY]
    other = service.come("127.0.0.2")
    assert service.is_served(other), "another peer has connections of its own"
    assert service.is_served(first), "those that there are go on"
    first.close()
    service.served.wait_for_event("request_finished")
    assert service.is_served(service.come())
    assert not service.is_served(service.come())


@pytest.mark.parametrize("strategy", MANY_AT_ONCE)
def test_connections_that_end_badly_are_counted_off(serve: Any, strategy: str) -> None:
    service = serve("tcp", strategy, max_per_peer=1)
    for number in range(1, 4):
        client = service.come()
        assert service.is_served(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        service.served.wait_for_event("request_finished", count=number)
    assert service.is_served(service.come())


def test_ipv6_peers_of_a_network_are_one(serve: Any) -> None:
    service = serve("tcp://[::1]:0", max_per_peer=1)
    first = service.come("::1")
    assert service.is_served(first)
    assert not service.is_served(service.come("::1"))
    assert service.reasons(1) == [TOO_MANY]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_peer_comes_so_often(serve: Any, strategy: str) -> None:
    service = serve("tcp", strategy, rate=0.01, burst=3)

    def comes(source: str) -> bool:
        client = service.come(source)
        served: bool = service.is_served(client)
        client.close()
        return served

    assert [comes("127.0.0.1") for _ in range(5)] == [True, True, True, False, False]
    assert service.reasons(2) == [TOO_OFTEN, TOO_OFTEN]
    assert comes("127.0.0.2")


def test_a_file_is_read_again_while_it_serves(serve: Any, tmp_path: Path) -> None:
    file = tmp_path / "deny"
    file.write_text("192.0.2.1\n")
    service = serve(deny_file=str(file))
    client = service.come()
    assert service.is_served(client)
    file.write_text("192.0.2.1\n127.0.0.1\n")
    wait_until(lambda: not service.is_served(service.come()), 10, "the file to be read")
    assert service.reasons(1)[0] == DENIED
    assert service.is_served(client), "who is in stays in"


def test_the_reasons_are_counted_and_logged_at_the_end(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    service = serve(deny=["127.0.0.2"], rate=0.01, burst=1)
    for source in ("127.0.0.2", "127.0.0.1", "127.0.0.1", "127.0.0.2"):
        service.is_served(service.come(source))
    service.reasons(3)
    for client in service.clients:
        client.close()
    with caplog.at_level(logging.INFO, "plugport.access-control"):
        service.served.stop()
    assert f"rejected: 3 ({DENIED}: 2, {TOO_OFTEN}: 1)" in caplog.messages


def test_two_services_of_a_process_have_limits_of_their_own(serve: Any) -> None:
    strict, loose = serve(max_per_peer=1), serve(max_per_peer=2)
    for service, most in ((strict, 1), (loose, 2)):
        assert [service.is_served(service.come()) for _ in range(3)] == [True] * most + [False] * (3 - most)


@pytest.mark.parametrize(
    ("options", "hooks"),
    [
        ({}, set()),
        ({"rate": 1.0}, {"verify_request", "server_bound", "server_stopped"}),
        ({"deny": ["192.0.2.1"]}, {"verify_request", "server_bound", "server_stopped"}),
        (
            {"max_per_peer": 1},
            {"verify_request", "server_bound", "server_stopped", "request_started", "request_finished"},
        ),
    ],
)
def test_what_is_not_asked_for_is_not_called(options: dict[str, Any], hooks: set[str]) -> None:
    plugins = Plugins(strict=True)
    plugins.add(plugin, PluginRecord("access", "plugport-access", ""))
    made = plugins.server_hooks({"plugport-access:access": options})
    assert {name for name in made.__slots__ if getattr(made, name) is not None} == hooks


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("allow=10.0.0.5/8", "access.allow: '10.0.0.5/8' is an address within a network"),
        ("deny=nobody", "access.deny: 'nobody' is neither an address nor a network; write 192.0.2.1"),
        ("allow_file=/no/such/file", "access.allow_file: /no/such/file can't be read: No such file"),
        ("rate=0", "option access.rate: expected float > 0 or null, got '0'"),
        ("burst=10", "access.burst: it has no effect without access.rate; add the requests per second"),
        ("ipv6_prefix=129", "expected int >= 1 and <= 128"),
        ("alow=10.0.0.0/8", "no option 'access.alow'; did you mean 'access.allow'"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_2(option: str, message: str) -> None:
    command = [
        sys.executable,
        "-m",
        "plugport",
        "serve",
        "echo",
        "tcp://127.0.0.1:0",
        "-o",
        f"access.{option}",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(rf"plugport: .*{re.escape(message)}.*\n", result.stderr)
