"""The endpoint of real processes: one that forks, and several that share a port and their metrics."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from plugport_testing.waiting import wait_until
from scraping import fetch, scrape, wait_for_figure

LABELS = {"echo", "threading"}
FINISHED = "plugport_requests_finished_total"
ACTIVE = "plugport_requests_active"


@contextmanager
def running(*arguments: str, log: Path, folder: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``plugport serve`` with warnings as errors, its standard error in *log*, until the block ends."""
    shared = {} if folder is None else {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-W", "error", "-m", "plugport", "serve", *arguments]
    with (
        log.open("wb") as sink,
        subprocess.Popen(command, stderr=sink, env={**os.environ, **shared}) as process,
    ):
        try:
            wait_until(
                lambda: "listening on" in log.read_text() or process.poll() is not None, 20, "it to listen"
            )
            assert process.poll() is None, log.read_text()
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def test_it_forks_without_a_warning_and_ends_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    options = ["-c", "forking", "-o", "prometheus.listen=127.0.0.1:0"]
    with running("echo", "tcp://127.0.0.1:0", *options, log=log) as process:
        port = int(re.findall(r"listening on tcp://127.0.0.1:(\d+)", log.read_text())[0])
        url = re.findall(r"metrics on (\S+)", log.read_text())[0]
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.sendall(b"hello")
                assert client.recv(100) == b"hello"
                assert scrape(url)
        wait_for_figure(url, FINISHED, {"echo", "forking", "completed"}, 5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not re.search("thread|Warning|Traceback|ERROR", log.read_text()), log.read_text()


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="processes can't share a port here")
def test_processes_that_share_a_port_share_their_metrics(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    port, metrics_port = free_port(), free_port()
    arguments = ["echo", f"tcp://127.0.0.1:{port}", "-o", "reuse_port=true"]
    arguments += ["-o", f"prometheus.listen=127.0.0.1:{metrics_port}"]
    url = f"http://127.0.0.1:{metrics_port}/metrics"
    logs = [tmp_path / f"log-{number}" for number in range(2)]
    with ExitStack() as stack:
        processes = [stack.enter_context(running(*arguments, log=log, folder=shared)) for log in logs]
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.sendall(b"hello")
                assert client.recv(100) == b"hello"
        found = wait_for_figure(url, FINISHED, {*LABELS, "completed"}, 40)
        assert found["plugport_request_duration_seconds_count", frozenset(LABELS)] == 40
        clients = []
        for _ in range(20):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
            clients.append(client)
        wait_for_figure(url, ACTIVE, LABELS, 20)
        processes[0].kill()
        processes[0].wait()
        left = sum(is_served(client) for client in clients)
        assert 0 < left < 20, "the kernel gave all connections to one of them"
        found = wait_for_figure(url, ACTIVE, LABELS, left)
        assert found[FINISHED, frozenset({*LABELS, "completed"})] == 40, "what it counted stays"
        assert not list(shared.glob(f"gauge_live*_{processes[0].pid}.db"))
        for client in clients:
            client.close()
        wait_for_figure(url, FINISHED, {*LABELS, "completed"}, 40 + left)
        processes[1].send_signal(signal.SIGTERM)
        assert processes[1].wait(10) == 0
    assert "Traceback" not in logs[1].read_text()


def is_served(client: socket.socket) -> bool:
    try:
        client.sendall(b"hello")
        return client.recv(100) == b"hello"
    except ConnectionError:
        return False


def test_a_folder_that_is_none_is_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "none"))
    command = [sys.executable, "-m", "plugport", "serve", "echo", "tcp://127.0.0.1:0"]
    result = subprocess.run(
        [*command, "-o", "prometheus.listen=127.0.0.1:0"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
    assert re.fullmatch(r"plugport: PROMETHEUS_MULTIPROC_DIR: '.*none' is no folder .*\n", result.stderr)


def test_a_file_that_can_not_be_removed_does_not_end_the_service(tmp_path: Path) -> None:
    shared, log = tmp_path / "shared", tmp_path / "log"
    (shared / "gauge_livesum_4194305.db").mkdir(parents=True)  # of a process that there can't be
    options = ["-o", "prometheus.listen=127.0.0.1:0"]
    with running("echo", "tcp://127.0.0.1:0", *options, log=log, folder=shared) as process:
        url = re.findall(r"metrics on (\S+)", log.read_text())[0]
        for _ in range(2):
            assert fetch(url)[0] == 500
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert "the metrics could not be updated" in log.read_text()
