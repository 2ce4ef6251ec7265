"""The endpoint: what it answers, to whom, and that nobody who scrapes holds anybody up."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from plugport import compose
from plugport.contracts.members import configure
from plugport.errors import ListenError, OptionError
from plugport_testing.plugin import Serve
from plugport_testing.waiting import wait_until
from prometheus_client import REGISTRY, Counter, Gauge
from scraping import curl, fetch, figures, in_openmetrics, scrape, wait_for_figure

from plugport_prometheus import endpoint
from plugport_prometheus.answer import MAX_HEAD, answer
from plugport_prometheus.prometheus import Prometheus

STRATEGIES = ["sync", "threading", "thread-pool", "forking", "select", "asyncio"]


def open_scrape(url: str, data: bytes = b"", buffer: int | None = None) -> socket.socket:
    """Return a connection to the endpoint, on which *data* was sent."""
    port = int(re.findall(r":(\d+)/", url)[0])
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(10)
    try:
        client.connect(("127.0.0.1", port))
    except ConnectionError:
        client.close()
        raise
    client.sendall(data)
    return client


def read_all(client: socket.socket) -> bytes:
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


# What it answers --------------------------------------------------------------------------------


@pytest.mark.tools("curl")
def test_the_format_is_what_the_scraper_asks_for(measure: Any) -> None:
    _, url = measure()
    plain = curl("--include", url)
    assert re.search(r"^HTTP/1.1 200 OK\r\n", plain)
    assert re.search(r"^Content-Type: text/plain; version=", plain, re.MULTILINE)
    assert figures(plain.partition("\r\n\r\n")[2])
    accept = "application/openmetrics-text; version=1.0.0"
    told = curl("--include", "--header", f"Accept: {accept}", url)
    assert re.search(rf"^Content-Type: {accept}", told, re.MULTILINE)
    samples = in_openmetrics(told.partition("\r\n\r\n")[2])
    assert any(name == "plugport_requests_active" for name, _ in samples)
    packed = curl("--compressed", "--include", url)
    assert "Content-Encoding: gzip" in packed
    assert figures(packed.partition("\r\n\r\n")[2]).keys() == figures(curl(url)).keys()


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text; version=a.b", "text/plain;version=;;q=x", ",;,="]
)
@pytest.mark.tools("curl")
def test_what_makes_no_sense_is_asked_for_in_vain(measure: Any, accept: str) -> None:
    _, url = measure()
    told = curl("--include", "--header", f"Accept: {accept}", url)
    assert re.search(
        r"^Content-Type: (text/plain|application/openmetrics-text); version=", told, re.MULTILINE
    )
    assert told.startswith("HTTP/1.1 200 OK")


@pytest.mark.tools("curl")
def test_a_part_can_be_asked_for(measure: Any) -> None:
    _, url = measure()
    assert {name for name, _ in figures(curl("--globoff", f"{url}?name[]=plugport_draining"))} == {
        "plugport_draining"
    }


@pytest.mark.parametrize(
    ("arguments", "path", "status"),
    [
        ([], "/", 404),
        ([], "/metric", 404),
        (["--head"], "/metrics", 200),
        (["--request", "DELETE"], "/metrics", 405),
        (["--data", "x=1"], "/metrics", 405),
        (["--header", "X: " + 9000 * "x"], "/metrics", 431),
        (["--http1.0"], "/metrics", 200),
    ],
)
@pytest.mark.tools("curl")
def test_the_status_is_right(measure: Any, arguments: list[str], path: str, status: int) -> None:
    _, url = measure()
    told = curl(
        "--output", "/dev/null", "--write-out", "%{http_code}", *arguments, url.replace("/metrics", path)
    )
    assert told == str(status)


@pytest.mark.parametrize(
    "head",
    [
        b"\n\n",
        b"GET\n\n",
        b"GET /metrics\n\n",
        b"GET /m\xff HTTP/1.1\n\n",
        b"GET / HTTP/1.1\n" + 200 * b"a: b\n" + b"\n",
    ],
)
def test_what_is_no_request_is_a_bad_one(head: bytes) -> None:
    assert answer(head, "/metrics", lambda environ, start: []).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_another_version_is_not_spoken() -> None:
    told = answer(b"GET /metrics HTTP/2.0\n\n", "/metrics", lambda environ, start: [])
    assert told.startswith(b"HTTP/1.1 505 ")


def test_a_head_that_does_not_end_is_cut(measure: Any) -> None:
    _, url = measure()
    told = read_all(open_scrape(url, b"GET /metrics HTTP/1.1\r\n" + b"x" * (MAX_HEAD + 1 - 23)))
    assert told.startswith(b"HTTP/1.1 431 ")


def test_path_and_address_are_options(measure: Any) -> None:
    _, url = measure(prometheus__path="/internal/figures", **{"prometheus.listen": "[::1]:0"})
    assert re.fullmatch(r"http://\[::1\]:\d+/internal/figures", url)
    assert "plugport_draining" in fetch(url)[1]


# What is collected ------------------------------------------------------------------------------


@pytest.fixture
def default_metrics() -> Iterator[list[Any]]:
    """Metrics to be taken out of the default registry when the test has ended."""
    metrics: list[Any] = []
    yield metrics
    for each in metrics:
        REGISTRY.unregister(each)


def test_what_a_handler_counts_is_told_too(measure: Any, default_metrics: list[Any]) -> None:
    counter = Counter("my_lines", "Lines of mine")
    default_metrics.append(counter)
    counter.inc(5)
    _, url = measure()
    found = scrape(url)
    assert found["my_lines_total", frozenset()] == 5
    if sys.platform == "linux":
        assert found["process_open_fds", frozenset()] > 3
    _, url = measure(prometheus__process=False)
    assert all(name.startswith("plugport_") for name, _ in scrape(url))


def test_a_collector_that_raises_harms_nobody(measure: Any, default_metrics: list[Any]) -> None:
    class Faulty:
        fails = True

        def collect(self) -> Any:
            if self.fails:
                raise LookupError("no figures")
            return []

    faulty = Faulty()
    faulty.fails = False
    REGISTRY.register(faulty)  # type: ignore[arg-type]
    default_metrics.append(faulty)
    served, url = measure("echo", "tcp", "select")
    faulty.fails = True
    assert fetch(url)[0] == 500
    assert served.exchange(b"hello") == b"hello"
    faulty.fails = False
    assert scrape(url)


# Who does not behave ----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_scrape_that_hangs_holds_nobody_up(
    measure: Any, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "PATIENCE", 0.4)
    served, url = measure("echo", "tcp", strategy)
    hanging = [open_scrape(url), open_scrape(url, b"GET /metrics HT")]
    assert served.exchange(b"hello") == b"hello"
    assert scrape(url)
    for client in hanging:
        assert read_all(client) == b"", "it is closed after a while"


def test_who_comes_when_there_are_many_waits_and_is_answered(
    measure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "PATIENCE", 0.5)
    monkeypatch.setattr(endpoint, "MAX_SCRAPES", 4)
    served, url = measure("echo", "tcp", "select")
    hanging = [open_scrape(url) for _ in range(6)]
    assert served.exchange(b"hello") == b"hello"
    began = time.process_time()
    assert scrape(url)
    assert time.process_time() - began < 0.3, "the loop spins"
    assert served.exchange(b"hello") == b"hello"
    for client in hanging:
        assert read_all(client) == b""


@pytest.mark.parametrize("strategy", ["threading", "asyncio"])
def test_who_reads_slowly_gets_all_of_it(measure: Any, strategy: str, default_metrics: list[Any]) -> None:
    many = Gauge("my_many", "Many", ["number"])
    default_metrics.append(many)
    for number in range(5000):
        many.labels(f"{number:01000}").set(number)
    served, url = measure("echo", "tcp", strategy)
    client = open_scrape(url, b"GET /metrics HTTP/1.1\r\n\r\n", 4096)
    assert client.recv(10) == b"HTTP/1.1 2"
    assert served.exchange(b"hello") == b"hello", "meanwhile others are served"
    told = read_all(client)
    length = int(re.findall(rb"Content-Length: (\d+)", told)[0])
    assert length > 3_000_000
    assert len(told.partition(b"\r\n\r\n")[2]) == length


def test_who_goes_away_in_the_middle_harms_nobody(measure: Any) -> None:
    served, url = measure("echo", "tcp", "asyncio")
    for data in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"):
        client = open_scrape(url, data)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
    assert scrape(url)
    assert served.exchange(b"hello") == b"hello"


# Its life ---------------------------------------------------------------------------------------


def test_a_scrape_that_is_open_at_the_end_is_closed(measure: Any) -> None:
    served, url = measure("echo", "tcp", "asyncio")
    client = open_scrape(url, b"GET /metrics HT")
    wait_until(lambda: scrape(url), 10, "the scrape to be accepted")
    served.stop()
    try:
        assert read_all(client) == b""
    except ConnectionError:
        pass
    with pytest.raises(ConnectionError):
        open_scrape(url)


def test_the_last_server_that_polls_has_the_endpoint(measure: Any) -> None:
    served, url = measure("echo", "tcp", "threading")
    # As plugport serve with two URLs does; the fixture serves one.
    first = served.server
    hooks = first.hooks
    from plugport.handlers.styles import style_of
    from plugport.serving.service import Service, build_server
    from plugport.serving.url import parse_url

    handler = first.RequestHandlerClass
    assert style_of(handler) == "blocking"
    servers = [
        build_server(
            compose("tcp", "threading"),
            parse_url("tcp://127.0.0.1:0"),
            handler,
            handler_name=name,
            hooks=hooks,
        )
        for name in ("second", "third")
    ]
    service = Service(servers, 10.0, lambda server: None)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        with socket.create_connection(servers[1].server_address, 10) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
            served.service.stop()
            served.join()  # whose loop watched until now
            service.stop()
            wait_for_figure(url, "plugport_draining", {"third", "threading"}, 1)
    finally:
        service.stop()
        thread.join()
    with pytest.raises(ConnectionError):
        open_scrape(url)


def test_a_port_in_use_is_an_error_and_nothing_is_left(plugport_serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            ListenError, match=f"can't serve metrics on http://{listen}: Address already in use"
        ):
            plugport_serve("echo", plugins=["prometheus"], **{"prometheus.listen": listen})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("listen={taken}", "can't serve metrics on http://{taken}: Address already in use; choose another"),
        ("listen=foo", "prometheus.listen: 'foo' is not HOST:PORT; write 127.0.0.1:9100"),
        ("path=metrics", "prometheus.path: 'metrics' is no path"),
        ("buckets=1 0.5", "prometheus.buckets: each must be greater than the one before"),
        ("buckets=", "prometheus.buckets: they must be one or more"),
        ("buckets=[0, 1]", "numbers above 0"),
        ("buckets=fast", "option prometheus.buckets: expected list[float], got 'fast'"),
        ("lisen=127.0.0.1:0", "no option 'prometheus.lisen'; did you mean 'prometheus.listen'"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_2(option: str, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        options = ["prometheus.listen=127.0.0.1:0", f"prometheus.{option.format(taken=where)}"]
        command = [sys.executable, "-m", "plugport", "serve", "echo", "tcp://127.0.0.1:0"]
        command += ["--log-level=error"]  # what other plugins may have to say
        command += [f"-o{each}" for each in options]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(rf"plugport: .*{re.escape(message.format(taken=where))}.*\n", result.stderr)


def test_what_is_wrong_is_so_without_an_endpoint(plugport_serve: Any) -> None:
    with pytest.raises(OptionError, match=r"prometheus.path: 'metrics' is no path"):
        plugport_serve("echo", plugins=["prometheus"], **{"prometheus.path": "metrics"})


@pytest.mark.parametrize(
    "listen", ["9100", "http://[::1]:0", "::1:9100", "a:http", "a:65536", "a:9/b", "a b:9"]
)
def test_what_is_no_address_is_told_how_one_is_written(listen: str) -> None:
    with pytest.raises(OptionError) as caught:
        configure(Prometheus, {"listen": listen})
    assert str(caught.value) == (
        f"prometheus.listen: {listen!r} is not HOST:PORT; write 127.0.0.1:9100, or [::1]:9100"
    )


@pytest.mark.parametrize("listen", ["127.0.0.1:9100", "[::1]:9100", ":0", "localhost:65535"])
def test_what_is_an_address_is_taken(listen: str) -> None:
    configure(Prometheus, {"listen": listen})
