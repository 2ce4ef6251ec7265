"""``plugport serve … -c gevent`` in a process of its own, whose standard library is patched."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from plugport_testing.waiting import PATIENCE, wait_until

__all__ = ["HANDLERS", "Process", "refusal_of"]

HANDLERS = Path(__file__).with_name("handlers.py")


class Process:
    """A service; what it says on standard error is its ``log``."""

    def __init__(self, arguments: tuple[str, ...], log: Path) -> None:
        command = [sys.executable, "-m", "plugport", "serve", *arguments, "-c", "gevent"]
        self._log = log
        with log.open("wb") as sink:
            self.process = subprocess.Popen(command, stderr=sink, stdin=subprocess.DEVNULL)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_until_listening(self) -> None:
        wait_until(
            lambda: "listening on" in self.log or self.process.poll() is not None, 3 * PATIENCE, "a listener"
        )
        assert self.process.poll() is None, self.log

    @property
    def url(self) -> str:
        found = re.search(r"listening on (\S+)", self.log)
        assert found
        return found[1]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def connect(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        client = socket.socket(socket.AF_INET, kind)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", self.port))
        return client

    def ask(self, question: bytes, kind: int = socket.SOCK_STREAM) -> bytes:
        with self.connect(kind) as client:
            client.send(question)
            return client.recv(65536)

    def signal(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def join(self) -> tuple[int, float]:
        """Wait for its end; return the exit status, and the seconds that it took."""
        begin = time.monotonic()
        status = self.process.wait(PATIENCE)
        return status, time.monotonic() - begin

    def stop(self) -> None:
        if self.process.poll() is None:
            self.signal()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise


def refusal_of(*arguments: str, **environment: Any) -> str:
    """What ``plugport serve`` says when it refuses these."""
    command = [sys.executable, "-m", "plugport", "serve", *arguments, "-c", "gevent"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=3 * PATIENCE, **environment)
    assert (result.returncode, result.stdout) == (2, ""), result
    [line] = result.stderr.splitlines()
    return line
