"""plugport serve -c gevent: handlers that wait for anything, signals, other people's handlers and clients."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from handlers import PAUSE
from plugport_testing.waiting import PATIENCE, wait_until
from processes import HANDLERS, Process, refusal_of

Service = Callable[..., Process]


@pytest.mark.parametrize("handler", ["Slow", "SlowOfOthers", "SlowProtocol", "slow_message"])
def test_who_sleeps_holds_up_nobody(service: Service, handler: str) -> None:
    process = service(handler)
    begin = time.monotonic()
    clients = [process.connect() for _ in range(100)]
    for client in clients:
        client.sendall(b"hello\n")
    for client in clients:
        assert client.recv(100) == b"HELLO\n"
        client.close()
    assert PAUSE <= time.monotonic() - begin < 100 * PAUSE / 4


def test_datagrams_that_take_their_time(service: Service) -> None:
    process = service("SlowDatagrams", "udp://127.0.0.1:0")
    begin = time.monotonic()
    clients = [process.connect(socket.SOCK_DGRAM) for _ in range(20)]
    for client in clients:
        client.send(b"hello")
    for client in clients:
        assert client.recv(100) == b"HELLO"
        client.close()
    assert time.monotonic() - begin < 20 * PAUSE / 2


def test_whatever_it_waits_for(service: Service) -> None:
    process = service("Waits")
    begin = time.monotonic()
    clients = [process.connect() for _ in range(10)]
    for client in clients:
        client.sendall(b"hello\n")
    assert [client.recv(100) for client in clients] == [b"HELLO\n"] * 10
    assert time.monotonic() - begin < 10 * PAUSE
    for client in clients:
        client.close()


def test_without_the_patch_a_sleep_holds_up_all(service: Service) -> None:
    process = service("Slow", "tcp://127.0.0.1:0", "-o", "patch=false")
    begin = time.monotonic()
    clients = [process.connect() for _ in range(5)]
    for client in clients:
        client.sendall(b"hello\n")
    assert [client.recv(100) for client in clients] == [b"HELLO\n"] * 5
    assert time.monotonic() - begin >= 5 * PAUSE
    for client in clients:
        client.close()


@pytest.mark.parametrize(("option", "patched"), [("patch=true", b"True"), ("concurrency.patch=no", b"False")])
def test_what_is_patched(service: Service, option: str, patched: bytes) -> None:
    process = service("TellsThread", "tcp://127.0.0.1:0", "-o", option)
    assert process.ask(b"") == patched + b" gevent.lock\n"


@pytest.mark.tools("curl")
def test_curl_gets_files_from_the_standard_library(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # which is what the handler serves
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)
    process = service("Files")
    command = ["curl", "-sS", "--fail", "--parallel", "--parallel-immediate"]
    for number in range(10):
        command += ["-o", f"out-{number}", f"http://127.0.0.1:{process.port}/file"]
    subprocess.run(command, check=True, timeout=PATIENCE)
    assert all((tmp_path / f"out-{number}").read_bytes() == content for number in range(10))


# Signals ----------------------------------------------------------------------------------------


def test_sigterm_lets_requests_finish(service: Service) -> None:
    process = service("Slow")
    with process.connect() as client:
        client.sendall(b"hello\n")
        time.sleep(PAUSE / 3)
        process.signal()
        assert client.recv(100) == b"HELLO\n"
        client.shutdown(socket.SHUT_WR)
        assert process.join()[0] == 0
    assert "active requests, 1" in process.log


def test_sigterm_ends_an_idle_service_at_once(service: Service) -> None:
    process = service("Slow")
    assert process.ask(b"hello\n") == b"HELLO\n"
    process.signal()
    status, seconds = process.join()
    assert status == 0
    assert seconds < PATIENCE / 4
    assert "Traceback" not in process.log


def test_a_second_signal_aborts(service: Service) -> None:
    process = service("Sleeper", "tcp://127.0.0.1:0", "--grace=1000")
    with process.connect() as client:
        assert client.recv(100) == b"good night\n"
        process.signal()
        wait_until(lambda: "a second signal aborts" in process.log, PATIENCE, "the drain")
        process.signal()
        assert client.recv(100) == b""
        assert process.join()[0] == 0  # aborted, and then killed


@pytest.mark.parametrize("handler", ["Computes", "Native", "Stubborn"])
def test_a_handler_that_would_not_end_is_abandoned(service: Service, handler: str) -> None:
    process = service(handler, "tcp://127.0.0.1:0", "--grace=0.1")
    with process.connect() as client:
        client.sendall(b"hello\n")
        time.sleep(0.2)
        process.signal()
        assert process.join()[0] == 1
    assert "did not end" in process.log
    assert "Traceback" not in process.log


def test_request_timeout_ends_a_sleeper(service: Service) -> None:
    process = service("Sleeper", "tcp://127.0.0.1:0", "-o", "request_timeout=0.2", "--access-log")
    with process.connect() as client:
        assert client.recv(100) == b"good night\n"
        assert client.recv(100) == b""
    wait_until(lambda: "timed-out in" in process.log, PATIENCE, "the end of the request")


def test_a_handler_may_stop_the_service(service: Service) -> None:
    process = service("Stops", "tcp://127.0.0.1:0", "--grace=100")
    assert process.ask(b"") == b"bye\n"
    assert process.join() == (0, pytest.approx(0, abs=PATIENCE / 4))


# Refusals ---------------------------------------------------------------------------------------


def test_what_would_hold_up_the_hub_is_refused() -> None:
    line = refusal_of(f"{HANDLERS}:coroutine")
    assert "an async handler needs an event loop, and gevent has none; " in line
    assert "asyncio" in line
    assert "would hold up the loop of gevent; " in refusal_of("exec", "-o", "command=true")


def test_too_late_to_patch(tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text(
        textwrap.dedent(
            """
            import threading
            threading.Thread(target=threading.Event().wait, daemon=True, name="early bird").start()
            """
        )
    )
    info = tmp_path / "early-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: early\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[plugport]\nearly = early\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    line = refusal_of("echo", "tcp://127.0.0.1:0", env=environment)
    assert "other threads run already (early bird)" in line
    assert "-o patch=false" in line


def test_what_was_imported_too_early_is_warned_of() -> None:
    code = (
        "from ssl import SSLContext\n"
        "from plugport_gevent.greenlets import GeventMixIn\n"
        "print(*GeventMixIn.prepare_process(), sep='\\n')\n"
        "print(*GeventMixIn.prepare_process(), sep='\\n')\n"  # patched already
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert result.stderr == ""
    first, second = result.stdout.splitlines()
    assert first.startswith("gevent: Monkey-patching ssl after ssl has already been imported")
    assert second == ""
