"""What is counted is what was done, under every strategy."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from typing import Any

import pytest
from plugport import BaseRequestHandler, hookimpl
from plugport.plugin.manager import PluginRecord, Plugins
from plugport_testing.waiting import wait_until
from scraping import Obedient, scrape, talk, wait_for_figure

from plugport_prometheus import plugin
from plugport_prometheus.metrics import make_metrics
from plugport_prometheus.tally import Tally

STRATEGIES = ["sync", "threading", "thread-pool", "forking", "select", "asyncio"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_counts_are_of_what_was_done(measure: Any, strategy: str) -> None:
    served, url = measure(Obedient, "tcp", strategy, request_timeout=1.0)
    for _ in range(7):
        assert talk(served.address, b"hello\n") == b"hello\n"
    for _ in range(3):
        assert talk(served.address, b"fail SomethingError\n") == b""
    assert talk(served.address, b"hang\n") == b""
    labels = {strategy, "Obedient"}
    found = wait_for_figure(url, "plugport_requests_finished_total", {*labels, "timed-out"}, 1)

    def of(name: str, *more: str) -> float | None:
        return found.get((f"plugport_{name}", frozenset({*labels, *more})))

    outcomes = [of("requests_finished_total", each) for each in ("completed", "failed", "aborted")]
    assert outcomes == [7, 3, 0]
    assert of("requests_started_total") == 11
    assert of("requests_active") == 0
    assert of("requests_failed_total", "SomethingError") == 3
    assert of("requests_failed_total", "TimeoutError") == 1
    assert of("request_duration_seconds_count") == 11
    assert of("request_duration_seconds_bucket", "+Inf") == 11
    assert 0.9 <= (of("request_duration_seconds_sum") or 0) < 60
    if sys.platform == "linux" and strategy != "forking":  # a child that is killed can't tell
        # Of a connection that was cut the kernel may count the client's FIN.
        assert 0 <= (of("received_bytes_total") or 0) - (7 * 6 + 3 * 20 + 5) <= 1
        assert of("sent_bytes_total") == 7 * 6
    assert of("draining") == 0
    if strategy == "forking":
        found = wait_for_figure(url, "plugport_children", labels, 0)
        assert (
            sum(value for (name, _), value in found.items() if name == "plugport_children_exited_total") == 11
        )


class Doorman:
    """Lets three in from one address, and nobody from another."""

    let_in = 0

    @hookimpl
    def plugport_verify_request(self, client_address: Any) -> bool | str:
        if client_address[0] == "127.0.0.2":
            return "banned"
        self.let_in += 1
        return self.let_in <= 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_rejections_are_counted_by_their_reasons(measure: Any, strategy: str) -> None:
    served, url = measure("echo", "tcp", strategy, ("prometheus", Doorman()))
    for source in ["127.0.0.2"] * 4 + ["127.0.0.1"] * 5:
        with socket.create_connection(served.address, 10, (source, 0)) as client:
            client.shutdown(socket.SHUT_WR)
            while client.recv(100):
                pass
    rejected = "plugport_requests_rejected_total"
    found = wait_for_figure(url, rejected, {"echo", strategy, "a verify_request hook returned False"}, 2)
    assert found[rejected, frozenset({"echo", strategy, "banned"})] == 4
    wait_for_figure(url, "plugport_requests_finished_total", {"echo", strategy, "completed"}, 3)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_datagrams_are_counted(measure: Any, strategy: str) -> None:
    served, url = measure("echo", "udp", strategy)
    for _ in range(5):
        assert served.exchange(b"12345678") == b"12345678"
    labels = {"echo", strategy}
    found = wait_for_figure(url, "plugport_requests_finished_total", {*labels, "completed"}, 5)
    assert found["plugport_received_bytes_total", frozenset(labels)] == 40


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "sync"])
def test_what_is_active_is_seen_and_a_drain_too(measure: Any, strategy: str) -> None:
    served, url = measure("echo", "tcp", strategy)
    labels = frozenset({"echo", strategy})
    with served.connect() as client:
        client.sendall(b"hello\n")
        assert client.recv(100) == b"hello\n"
        found = scrape(url)
        assert found["plugport_requests_active", labels] == 1
        assert found["plugport_requests_started_total", labels] == 1
        if strategy == "forking":
            assert found["plugport_children", labels] == 1
        served.service.stop()
        found = wait_for_figure(url, "plugport_draining", set(labels), 1)
        assert found["plugport_requests_active", labels] == 1


def test_many_threads_lose_no_count(measure: Any) -> None:
    served, url = measure(Obedient)

    def come() -> None:
        for _ in range(50):
            talk(served.address, b"x\n")

    crowd = [threading.Thread(target=come) for _ in range(8)]
    for each in crowd:
        each.start()
    scrapes = [scrape(url) for _ in range(10)]
    for each in crowd:
        each.join()
    labels = frozenset({"Obedient", "threading"})
    scrapes.append(wait_for_figure(url, "plugport_requests_finished_total", {*labels, "completed"}, 400))
    started = [each.get(("plugport_requests_started_total", labels), 0) for each in scrapes]
    assert started == sorted(started)
    assert started[-1] == 400
    assert scrapes[-1]["plugport_request_duration_seconds_count", labels] == 400


def test_the_names_that_are_told_apart_are_bounded(measure: Any) -> None:
    served, url = measure(Obedient, prometheus__max_names=3)
    for number in range(10):
        talk(served.address, b"fail Error%d\n" % number)
    found = wait_for_figure(url, "plugport_requests_failed_total", {"Obedient", "threading", "other"}, 7)
    failed = [labels for name, labels in found if name == "plugport_requests_failed_total"]
    assert len(failed) == 4


def test_a_series_goes_on_after_a_server_and_its_gauges_are_zero() -> None:
    class Server:
        handler_name, concurrency_name = "echo", "forking"
        active_requests = {1: None, 2: None}
        active_children = {7, 8, 9}

        def listening_url(self) -> str:
            return "tcp://127.0.0.1:9000"

    class Context:
        outcome, duration, bytes_received, bytes_sent = "completed", 0.25, 3, None

    server, context = Server(), Context()
    metrics = make_metrics((0.1, 1.0), process=False)
    tally = Tally(server, metrics, 5)  # type: ignore[arg-type]
    tally.drain()
    tally.finish(context)  # type: ignore[arg-type]
    for status in (0, 1, -9, None, 0):
        tally.exit(status)
    tally.refresh()
    labels = {"handler": "echo", "url": "tcp://127.0.0.1:9000", "concurrency": "forking"}

    def value(name: str, **more: str) -> float | None:
        return metrics.registry.get_sample_value(f"plugport_{name}", {**labels, **more})

    assert (value("requests_active"), value("children"), value("draining")) == (2, 3, 1)
    assert value("requests_started_total") == 3
    assert value("request_duration_seconds_bucket", le="0.1") == 0
    assert value("request_duration_seconds_bucket", le="1.0") == 1
    exits = [
        value("children_exited_total", status=each) for each in ("completed", "failed", "killed", "unknown")
    ]
    assert exits == [2, 1, 1, 1]
    server.active_requests, server.active_children = {}, set()
    tally.close()
    tally.refresh()
    assert (value("requests_active"), value("children"), value("draining")) == (0, 0, 0)
    assert value("requests_finished_total", outcome="completed") == 1
    assert value("requests_started_total") == 3, "a counter never goes back"


# What a child has -------------------------------------------------------------------------------


class Sockets(BaseRequestHandler):
    """Tells what sockets its process holds."""

    def handle(self) -> None:
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        held = [os.readlink(link) for link in links if os.path.exists(link) or os.path.islink(link)]
        self.request.sendall(" ".join(held).encode())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_child_holds_neither_the_endpoint_nor_a_scrape(measure: Any) -> None:
    served, url = measure(Sockets, "tcp", "forking")
    port = int(re.findall(r":(\d+)/", url)[0])
    with socket.create_connection(("127.0.0.1", port)) as scrape_socket:
        scrape_socket.sendall(b"GET /metrics HTTP/1.1\r\n")
        near = scrape_socket.getsockname()[1]
        of_the_endpoint = wait_until(lambda: inodes_at(port, near), 10, "the scrape to be accepted")
        held = talk(served.address, b"").decode()
    assert "socket:[" in held
    assert not [inode for inode in of_the_endpoint if f"socket:[{inode}]" in held]


def inodes_at(port: int, near: int) -> list[str]:
    """Return the inodes of the socket that listens on *port*, and of its end of the connection to *near*."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file][1:]
    found = [
        row[9]
        for row in rows
        if row[1].endswith(f":{port:04X}") and (row[3] == "0A" or row[2].endswith(f":{near:04X}"))
    ]
    return found if len(found) == 2 and "0" not in found else []


def test_what_is_not_asked_for_is_not_called() -> None:
    plugins = Plugins(strict=True)
    plugins.add(plugin, PluginRecord("prometheus", "plugport-prometheus", ""))
    hooks = plugins.server_hooks()
    assert [name for name in hooks.__slots__ if getattr(hooks, name) is not None] == []
