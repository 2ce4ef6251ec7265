"""The fixture plugport_serve: services at work, their clients, and what their hooks tell."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from patience import wait_until

from plugport import BaseRequestHandler, RequestContext, hookimpl
from plugport.errors import (
    AddressError,
    IncompatibleError,
    ListenError,
    OptionError,
    PluginError,
    UnknownNameError,
)
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.handlers.echo import EchoHandler
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.unix import UnixStreamServer
from plugport_testing.plugin import Serve
from plugport_testing.served import ServedService

STRATEGIES = ("sync", "threading", "thread-pool", "forking", "select", "asyncio")


@pytest.mark.parametrize("concurrency", STRATEGIES)
@pytest.mark.parametrize("scheme", ["tcp", "udp", "unix", "unixgram"])
def test_any_combination(plugport_serve: Serve, scheme: str, concurrency: str) -> None:
    service = plugport_serve("echo", scheme, concurrency)
    assert service.url.startswith(f"{scheme}://")
    assert service.exchange(b"hello") == b"hello"
    client = service.connect()
    client.send(b"again")
    assert client.recv(100) == b"again"
    client.close()
    assert service.wait_for_event("request_finished", count=2)["context"].outcome == "completed"
    service.stop()
    hooks = [event.hook for event in service.events if not event.hook.startswith("child_")]
    assert hooks[:2] == ["server_bound", "server_started"]
    assert hooks[-2:] == ["server_draining", "server_stopped"]


def test_components_may_be_objects(plugport_serve: Serve) -> None:
    class Renamed(ThreadingMixIn):
        pass

    def upper(message: bytes) -> bytes:
        return message.upper()

    service = plugport_serve(upper, "unix", Renamed, server=UnixStreamServer)
    assert service.exchange(b"hello\n") == b"HELLO\n"
    assert (service.server.handler_name, type(service.server).__name__) == (
        "upper",
        "RenamedUnixStreamServer",
    )


def test_components_may_be_import_strings(plugport_serve: Serve) -> None:
    service = plugport_serve(
        "plugport_builtins.handlers.echo:EchoHandler",
        concurrency="plugport_builtins.concurrency.threading:ThreadingMixIn",
    )
    assert service.exchange(b"hello") == b"hello"


def test_a_url(plugport_serve: Serve, tmp_path: Path) -> None:
    service = plugport_serve("echo", f"unix://{tmp_path}/here")
    assert (service.url, service.address) == (f"unix://{tmp_path}/here", f"{tmp_path}/here")
    assert plugport_serve("echo", "unix://{folder}/s").exchange(b"hello") == b"hello"
    assert plugport_serve("echo", "tcp://[::1]:0").url.startswith("tcp://[::1]:")


def test_options_go_where_they_belong(plugport_serve: Serve) -> None:
    service = plugport_serve(
        "checksum", "tcp", "thread-pool", request_queue_size=3, max_workers=2, small=10, request_timeout=5
    )
    server = service.server
    assert (server.request_queue_size, server.max_workers, server.request_timeout) == (3, 2, 5)
    assert server.RequestHandlerClass.small == 10
    assert plugport_serve("echo", **{"server.timeout": 7}).server.timeout == 7


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("ehco",), {}, UnknownNameError, "did you mean 'echo'"),
        (("echo", "tpc"), {}, UnknownNameError, "did you mean 'tcp'"),
        (("echo", "tcp", "selct"), {}, UnknownNameError, "did you mean 'select'"),
        (("echo", "tcp"), {"request_queu_size": 1}, OptionError, "did you mean 'request_queue_size'"),
        (("echo", "tcp"), {"request_queue_size": -1}, OptionError, "expected int >= 0, got -1"),
        (("echo", "tcp"), {"request_queue_size": "5"}, OptionError, "expected int >= 0, got '5'"),
        (("counter", "tcp", "forking"), {}, IncompatibleError, "keeps state in memory"),
        (("echo", "tcp://127.0.0.1"), {}, AddressError, "no port"),
        (("echo", "tcp://192.0.2.1:0"), {}, ListenError, "no interface"),
    ],
)
def test_combination_that_can_not_be_served(
    plugport_serve: Serve, arguments: Any, options: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        plugport_serve(*arguments, **options)


def test_large_exchanges(plugport_serve: Serve) -> None:
    service = plugport_serve("echo")
    large = bytes(range(256)) * 40000
    assert service.exchange(large) == large
    assert service.exchange(b"hello" * 10, size=7) == b"hellohe"
    assert plugport_serve("daytime").exchange(b"x" * 10, size=1000).endswith(b"\r\n")


def test_exchange_ends_with_patience(plugport_serve: Serve) -> None:
    service = plugport_serve("discard")
    service.patience = 0.05
    with pytest.raises(TimeoutError):
        service.exchange(b"hello", size=1)
    service.patience = 10


def test_events(plugport_serve: Serve) -> None:
    service = plugport_serve("echo", "tcp", "threading")
    client = service.connect()
    started = service.wait_for_event("request_started")["context"]
    assert isinstance(started, RequestContext)
    assert started.client_address == client.getsockname()
    with pytest.raises(
        AssertionError, match="in vain for request_finished x 1; what came is: server_bound, "
    ):
        service.wait_for_event("request_finished", timeout=0.05)
    with pytest.raises(ValueError, match="did you mean 'request_finished'"):
        service.wait_for_event("request_finish")
    client.close()
    assert service.wait_for_event("request_finished")["context"] is started
    service.exchange(b"")
    assert service.wait_for_event("request_finished", count=2)["context"] is not started


def test_plugins(plugport_serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    class Plugin:
        def __init__(self) -> None:
            self.counts: Counter[str] = Counter()

        @hookimpl
        def plugport_verify_request(self, client_address: Any) -> bool:
            return self.counts["let in"] < 1

        @hookimpl
        def plugport_request_finished(self, context: RequestContext) -> None:
            self.counts["let in"] += 1

        @hookimpl
        def plugport_service_actions(self) -> None:
            self.counts["turns"] += 1
            raise LookupError("no harm")

    plugin, other = Plugin(), Plugin()
    service = plugport_serve("echo", "tcp", "sync", plugins=[plugin, other])
    assert service.exchange(b"hello") == b"hello"
    service.wait_for_event("request_finished")
    assert (plugin.counts["let in"], other.counts["let in"]) == (1, 1)
    with contextlib.suppress(ConnectionError):  # the system may tell it either way
        assert service.exchange(b"hello", size=5) == b""
    service.wait_for_event("request_rejected")
    wait_until(lambda: plugin.counts["turns"] > 0, what="service_actions")
    assert "service_actions" not in [event.hook for event in service.events]


def test_plugin_with_an_unknown_hook(plugport_serve: Serve) -> None:
    class Slip:
        @hookimpl
        def plugport_request_finish(self, context: RequestContext) -> None: ...

    with pytest.raises(PluginError, match="did you mean 'plugport_request_finished'"):
        plugport_serve("echo", plugins=[Slip()])


def test_several_services(plugport_serve: Serve) -> None:
    services = [plugport_serve("echo", "tcp", one) for one in ("threading", "select")]
    assert len({service.url for service in services}) == 2
    clients = [service.connect() for service in services * 2]
    for client in clients:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
    services[0].stop()
    assert services[1].exchange(b"hello") == b"hello"
    services[0].stop()


def test_a_service_can_be_stopped_by_the_test(plugport_serve: Serve) -> None:
    service = plugport_serve("echo", "tcp", "select")
    client = service.connect()
    stopped = threading.Thread(target=service.service.stop)
    stopped.start()
    stopped.join()
    service.wait_for_event("server_draining")
    client.sendall(b"still here")
    assert client.recv(100) == b"still here"
    client.close()
    service.join()
    assert not service.is_serving()
    with pytest.raises(OSError):  # noqa: PT011 - refused, whatever the system says
        service.connect()


def test_it_stops_from_the_main_thread_without_an_alarm(plugport_serve: Serve) -> None:
    import signal

    service = plugport_serve("echo")
    client = service.connect()
    service.service.stop()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    client.close()
    service.join()


# What fails ---------------------------------------------------------------------------------------


def started(strategy: type, handler: Any = EchoHandler, **members: Any) -> ServedService:
    service = ServedService(patience=0.5)
    server_class = type("Server", (strategy, TCPServer), members)
    service.add(server_class, "tcp", handler, "echo")
    service.start()
    return service


class Sound(ThreadingMixIn):
    pass


def test_an_error_of_the_service_is_raised(plugport_leaks: None) -> None:
    def service_actions(self: Any) -> None:
        if self.active_requests:
            raise LookupError("no such thing")

    service = started(Sound, service_actions=service_actions)
    service.connect().sendall(b"hello")
    wait_until(lambda: not service.is_serving(), what="its end")
    with pytest.raises(LookupError, match="no such thing"):
        service.stop()
    service.stop()


def test_an_error_at_its_start_is_raised(plugport_leaks: None) -> None:
    def serve_forever(self: Any, poll_interval: float = 0.5) -> None:
        raise LookupError("no such thing")

    service = ServedService(patience=0.5)
    service.add(type("Server", (Sound, TCPServer), {"serve_forever": serve_forever}), "tcp", EchoHandler, "")
    with pytest.raises(LookupError, match="no such thing"):
        service.start()
    service.abandon()


def test_an_error_at_its_end_is_raised(plugport_leaks: None) -> None:
    def server_close(self: Any) -> None:
        super(Sound, self).server_close()
        raise LookupError("no such thing")

    service = started(Sound, server_close=server_close)
    with pytest.raises(LookupError, match="no such thing"):
        service.stop()


def test_request_that_does_not_end_is_reported(plugport_leaks: None) -> None:
    gate = threading.Event()

    class Stuck(BaseRequestHandler):
        def handle(self) -> None:
            gate.wait(10)

    service = started(Sound, Stuck, daemon_threads=True)
    service.patience = 5.0
    service.service.grace = 0.05
    service.connect()
    service.wait_for_event("request_started")
    with pytest.raises(AssertionError, match="requests did not end"):
        service.stop()
    gate.set()


def test_service_that_does_not_start_is_reported(plugport_leaks: None) -> None:
    gate = threading.Event()

    def serve_forever(self: Any, poll_interval: float = 0.5) -> None:
        gate.wait(10)

    service = ServedService(patience=0.1)
    service.add(type("Server", (Sound, TCPServer), {"serve_forever": serve_forever}), "tcp", EchoHandler, "")
    with pytest.raises(AssertionError, match=r"does not begin to serve in 0\.1 s"):
        service.start()
    gate.set()
    service.abandon()


def test_socket_file_left_behind_is_reported(plugport_leaks: None) -> None:
    service = ServedService(patience=0.5)
    server_class = type("Server", (Sound, UnixStreamServer), {"_remove_file": lambda self: None})
    service.add(server_class, "unix", EchoHandler, "echo")
    service.start()
    with pytest.raises(AssertionError, match=r"left behind: socket file .*/0/socket"):
        service.stop()
    assert not service.folder.exists()


def test_clients_of_unix_datagrams_leave_no_file(plugport_serve: Serve) -> None:
    service = plugport_serve("echo", "unixgram")
    client = service.connect()
    assert Path(client.getsockname()).is_socket()
    client.close()
    assert list(service.folder.glob("client-*")) == []
    client.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        client.send(b"hello")
    assert isinstance(client, socket.socket)
