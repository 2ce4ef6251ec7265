"""Files under every strategy and over every kind of connection, downloaded by curl."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from plugport_testing.leaks import open_files
from plugport_testing.waiting import PATIENCE, wait_until

STRATEGIES = ["sync", "threading", "thread-pool", "forking", "select", "asyncio"]
LARGE = bytes(range(256)) * 4096
#: Bytes of the file that is fetched in constant memory, and the most that a process may take then.
HUGE, MOST_MEMORY = 1 << 28, 100 << 20


@pytest.mark.tools("curl")
@pytest.mark.parametrize("scheme", ["tcp", "unix", "tls"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_curl_downloads_files(site: Any, strategy: str, scheme: str, tmp_path: Path) -> None:
    place = site(strategy, scheme)
    *address, base = place.curl_place
    names = ["a.txt", "large.bin", "sub/b.html", "empty", "missing"]
    outputs = [tmp_path / name.replace("/", "-") for name in names]
    options = [
        part for name, output in zip(names, outputs, strict=True) for part in ("-o", output, f"{base}/{name}")
    ]
    report = "%{http_code} %{num_connects}\n"
    command = ["curl", "--http1.1", "-sS", "-m", "30", "-w", report, *address, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    # One connection for all of them.
    assert done.stdout.splitlines() == ["200 1", "200 0", "200 0", "200 0", "404 0"]
    for name, output in zip(names[:-1], outputs, strict=False):
        assert (output.read_bytes() if output.exists() else b"") == (place.root / name).read_bytes()


@pytest.mark.tools("curl")
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ranges_and_resumes(site: Any, strategy: str, scheme: str, tmp_path: Path) -> None:
    place = site(strategy, scheme)
    assert place.curl("/large.bin", "-r", "1000-300999").stdout == LARGE[1000:301000]
    assert place.curl("/large.bin", "-r", "-5").stdout == LARGE[-5:]
    several = place.curl("/large.bin", "-r", "0-99,100000-299999").stdout
    assert LARGE[:100] in several
    assert LARGE[100000:300000] in several
    half = tmp_path / "half"
    half.write_bytes(LARGE[:500_000])
    done = place.curl("/large.bin", "-C", "-", "-o", str(half))
    assert done.returncode == 0, done.stderr
    assert half.read_bytes() == LARGE
    head = place.curl("/large.bin", "-I").stdout
    assert b"content-length: %d\r\n" % len(LARGE) in head
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_pipelined_requests_are_answered_in_order(site: Any, strategy: str) -> None:
    place = site(strategy)
    paths = ["/a.txt", "/large.bin", "/missing", "/empty", "/sub/b.html"]
    requests = [f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths]
    answers = place.served.exchange("".join(requests).encode())
    assert answers.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answers.count(b"HTTP/1.1 ") == len(paths)
    assert answers.index(b"0123456789" * 10) < answers.index(LARGE) < answers.index(b"404 Not Found\n")
    assert answers.endswith(b"<p>b</p>")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_aborted_download_leaves_no_descriptor(site: Any, strategy: str) -> None:
    place = site(strategy)
    (place.root / "huge").touch()
    os.truncate(place.root / "huge", HUGE)
    client = place.served.connect()
    client.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(client.recv(100_000)) > 0
    if strategy != "forking":  # there a child has it
        wait_until(lambda: str(place.root / "huge") in open_files().values(), PATIENCE, "the open file")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    place.served.wait_for_event("request_finished")
    wait_until(lambda: str(place.root / "huge") not in open_files().values(), PATIENCE, "its closing")


@pytest.mark.parametrize("strategy", ["threading", "select", "asyncio"])
def test_download_aborted_by_server_logs_no_error(site: Any, strategy: str, caplog: Any) -> None:
    place = site(strategy)
    (place.root / "huge").touch()
    os.truncate(place.root / "huge", HUGE)
    client = place.served.connect()
    client.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(client.recv(100_000)) > 0
    seen: list[int] = []

    def nothing_moves() -> bool:
        seen.append(len(client.recv(1 << 24, socket.MSG_PEEK)))
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    wait_until(nothing_moves, PATIENCE, "the end of the room that the client has")
    place.served.server.drain(0.0)
    place.served.wait_for_event("request_finished")
    place.served.join()
    assert str(place.root / "huge") not in open_files().values()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_client_that_does_not_read_is_disconnected(site: Any, strategy: str) -> None:
    place = site(strategy, send_timeout=0.3)
    (place.root / "huge").touch()
    os.truncate(place.root / "huge", HUGE)
    client = place.served.connect()
    client.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
    place.served.wait_for_event("request_finished")


# Under sync the one thread that could see the drain has the connection; under forking a child has it,
# whose handlers are not notified.
@pytest.mark.parametrize("strategy", ["threading", "thread-pool", "select", "asyncio"])
def test_client_without_request_does_not_delay_drain(site: Any, strategy: str) -> None:
    place = site(strategy, keep_alive_timeout=60)
    client = place.served.connect()
    client.sendall(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
    received = b""
    while not received.endswith(b"0123456789" * 10):
        received += client.recv(10_000)
    began = time.monotonic()
    place.served.server.drain(PATIENCE)
    assert client.recv(100) == b""
    assert time.monotonic() - began < PATIENCE / 2


ASK = b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"


def rest_of(client: socket.socket) -> bytes:
    received = b""
    while data := client.recv(65536):
        received += data
    return received


@pytest.mark.parametrize("strategy", ["threading", "thread-pool", "select", "asyncio"])
def test_client_connected_before_drain_is_answered(site: Any, strategy: str) -> None:
    place = site(strategy)
    client = place.served.connect()
    place.served.wait_for_event("request_started")
    place.served.server.drain(PATIENCE)
    place.served.wait_for_event("server_draining")
    client.sendall(ASK)
    answer = rest_of(client)
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"0123456789" * 10)


@pytest.mark.parametrize("strategy", ["select", "asyncio"])
def test_request_at_begin_of_drain_is_answered(site: Any, strategy: str) -> None:
    place = site(strategy)
    client = place.served.connect()
    client.sendall(ASK)
    received = b""
    while not received.endswith(b"0123456789" * 10):
        received += client.recv(10_000)
    assert b"connection: close" not in received
    # In the serving thread: when it goes on, the request is in the kernel's buffer.
    place.served.server.drain_callbacks.add(lambda: client.sendall(ASK))
    place.served.server.drain(PATIENCE)
    answer = rest_of(client)
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"0123456789" * 10)


@pytest.mark.slow
@pytest.mark.tools("curl")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_huge_file_is_sent_in_constant_memory(strategy: str, root: Path) -> None:
    (root / "huge").touch()
    os.truncate(root / "huge", HUGE)
    command = [sys.executable, "-m", "plugport", "serve", "http-files", "tcp://127.0.0.1:0", "-c", strategy]
    server = subprocess.Popen([*command, "-o", f"root={root}"], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        url = ""
        while "listening on" not in url:
            url = server.stderr.readline()
            assert url, "the server has ended"
        base = url.split()[-1].replace("tcp", "http")
        report = "%{http_code} %{size_download}"
        fetch = ["curl", "--http1.1", "-sS", "-m", "100", "-o", "/dev/null", "-w", report, f"{base}/huge"]
        client = subprocess.Popen(fetch, stdout=subprocess.PIPE, text=True)
        peaks = [0]
        while client.poll() is None:
            peaks += [peak_of(pid) for pid in (server.pid, *children_of(server.pid))]
            time.sleep(0.02)
        assert client.communicate()[0] == f"200 {HUGE}"
        assert 0 < max(peaks) < MOST_MEMORY
    finally:
        server.terminate()
        server.communicate()
    assert server.returncode == 0


def peak_of(pid: int) -> int:
    """Return the peak memory of a process, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
