"""``plugport serve`` as a subprocess, curl, and an HTTP client on a connected socket."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plugport import resolve_target
from plugport_testing.waiting import wait_until

from plugport_http.wsgi.handler import WSGIHandler

APPLICATIONS = Path(__file__).parents[1] / "applications"
PATIENCE = 30.0


class Command:
    """A service in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "plugport", "serve", *arguments],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stderr is not None
        self.lines: list[str] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("listening on "):
                self._listening.set()
        self._listening.set()

    def wait_for_url(self) -> str:
        """Wait until it listens."""
        assert self._listening.wait(PATIENCE), "the service does not begin"
        found = [line for line in self.lines if line.startswith("listening on ")]
        assert found, "\n".join(self.lines)
        return (
            found[0].removeprefix("listening on ").replace("tcp://", "http://").replace("tls://", "https://")
        )

    def stop(self) -> int:
        """Have it end, and return its status."""
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status

    @property
    def peak_memory(self) -> int:
        """The most memory that it has had, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1])


@contextmanager
def command(*arguments: str) -> Iterator[Command]:
    """Run ``plugport serve`` with *arguments* until the block ends; check that it drains and exits with 0."""
    service = Command(*arguments)
    try:
        yield service
    except BaseException:
        service.process.kill()
        service.stop()
        print("\n".join(service.lines))
        raise
    assert service.stop() == 0, "\n".join(service.lines)


def curl(*arguments: str, **options: Any) -> str:
    """Return the output of curl. Raises AssertionError if curl fails."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--http1.1", "--max-time", "60", *arguments],
        capture_output=True,
        timeout=PATIENCE * 3,
        check=False,
        **options,
    )
    assert done.returncode == 0, (done.returncode, done.stderr.decode())
    return done.stdout.decode()


class _Borrowed:
    """A socket without close(): http.client would close it before the response is read."""

    def __init__(self, sock: Any) -> None:
        self.sendall, self.makefile = sock.sendall, sock.makefile

    def close(self) -> None:
        pass


class Client(http.client.HTTPConnection):
    """The standard library's client on an existing connection."""

    def __init__(self, sock: Any) -> None:
        super().__init__("testserver")
        self.sock = _Borrowed(sock)

    def ask(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None, **more: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request; return status, header and body of the response."""
        self.request(method, target, body, headers or {}, **more)
        response = self.getresponse()
        content = response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, content


def serving(application: Callable[..., Any]) -> type[WSGIHandler]:
    """Return a handler for the WSGI *application*."""
    return type("Serving", (WSGIHandler,), {"application": staticmethod(application)})


def wsgi_cases() -> Any:
    """Return the globals of wsgi_cases.py as imported by a server in this process."""
    return resolve_target(f"{APPLICATIONS / 'wsgi_cases.py'}:app").__globals__


def eventually(condition: Callable[[], object]) -> None:
    """Wait until *condition* is true."""
    wait_until(condition, PATIENCE, "what the test waits for")


def raw(sock: Any, *pieces: bytes) -> bytes:
    """Send *pieces*, and return everything received until the server closes."""
    for piece in pieces:
        sock.sendall(piece)
    return receive_all(sock)


def receive_all(sock: Any) -> bytes:
    """Return everything received until the server closes."""
    received = []
    while data := sock.recv(65536):
        received.append(data)
    return b"".join(received)


def receive_until(sock: Any, end: bytes) -> bytes:
    """Return the received bytes up to and including *end*."""
    received = b""
    while end not in received:
        data = sock.recv(65536)
        assert data, received
        received += data
    return received
