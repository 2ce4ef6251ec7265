"""The command line as a user has it: ``plugport`` in a process of its own, and what is left of it."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from clients import dial, read_all
from environments import Process
from leaks import socket_files
from patience import PATIENCE
from procfs import listening_ports, marked

__all__ = ["Address", "Service", "address_of", "error_of", "only", "plugport", "serving"]

#: A variable of the environment by which a process's descendants are known.
_MARK = "PLUGPORT_TEST_MARK"
_numbers = itertools.count(1)


class Address(NamedTuple):
    """Where a service listens, as socket() and connect() want it."""

    family: int
    kind: int
    address: Any


def address_of(url: str) -> Address:
    """Read a URL that ``plugport serve`` has printed."""
    scheme, _, rest = url.partition("://")
    kind = socket.SOCK_DGRAM if scheme in ("udp", "unixgram") else socket.SOCK_STREAM
    if scheme.startswith("unix"):
        return Address(socket.AF_UNIX, kind, rest)
    host, _, port = rest.rpartition(":")
    return Address(socket.AF_INET, kind, (host, int(port)))


def _new_mark() -> str:
    return f"{os.getpid()}.{next(_numbers)}."


def _environ(mark: str, env: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PLUGPORT_DISABLE"}
    return {**kept, _MARK: mark, **env}


def plugport(
    folder: Path,
    *arguments: Any,
    env: dict[str, str] | None = None,
    prefix: tuple[str, ...] = (),
    pass_fds: Sequence[int] = (),
) -> subprocess.CompletedProcess[str]:
    """Run ``plugport`` in *folder* to its end, which must be that of all that it has started."""
    mark = _new_mark()
    result = subprocess.run(
        [*prefix, sys.executable, "-m", "plugport", *map(str, arguments)],
        cwd=folder,
        env=_environ(mark, env or {}),
        pass_fds=pass_fds,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
    )
    assert not marked(f"{_MARK}={mark}")
    return result


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that the error was, where nothing else was printed and the status is 2."""
    assert (result.returncode, result.stdout) == (2, ""), result
    assert re.fullmatch(r"plugport: .+\n", result.stderr), result.stderr
    return result.stderr.removeprefix("plugport: ").rstrip("\n")


class Service(Process):
    """``plugport serve``, running; its output in a file."""

    def __init__(
        self, folder: Path, *arguments: Any, env: dict[str, str] | None = None, **options: Any
    ) -> None:
        self._folder = folder
        self._mark = _new_mark()
        super().__init__(
            [sys.executable, "-m", "plugport", "serve", *map(str, arguments)],
            folder / f"service-{self._mark}log",
            cwd=folder,
            env=_environ(self._mark, env or {}),
            **options,
        )
        self.urls: list[str] = []

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def address(self) -> Address:
        """Where it listens first."""
        return address_of(self.urls[0])

    def listen(self, count: int) -> None:
        """Wait for the lines that tell where it listens, as many as there are URLs."""
        self.wait_for(rf"(?s)(?:listening on [^\n]+\n.*?){{{count}}}")
        self.urls = re.findall(r"^listening on (.*)$", self.output, re.MULTILINE)

    def connect(self, timeout: float = PATIENCE) -> Any:
        """Connect a client; over TLS, to a server with a certificate of the tests' own authority."""
        if self.urls[0].startswith("tls:"):
            from certificates import authority

            return authority().connect(self.address.address, timeout=timeout, ragged=True)
        return dial(*self.address, timeout)

    def ask(self, question: bytes) -> bytes:
        """Connect, send, say that there is no more, and read to the end."""
        with self.connect() as client:
            if question:  # else the server may have spoken, and closed, before a word could be sent
                client.sendall(question)
            client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the process, and not to its children."""
        self._process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end; return the exit status."""
        return self._process.wait(timeout)

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def is_listening(self) -> bool:
        """Whether it takes connections where it listens first; told without making one."""
        address = self.address.address
        return os.path.exists(address) if isinstance(address, str) else address[1] in listening_ports()

    def outcomes(self) -> list[str]:
        """What became of each request that has finished, by ``--access-log``."""
        return re.findall(r" INFO \d+ \S+ \S+ \S+ (\S+) in \d", self.output)

    def assert_nothing_left(self) -> None:
        """AssertionError if a process that descends from it, or a socket file, is there still."""
        assert not marked(f"{_MARK}={self._mark}")
        assert not socket_files(self._folder)

    def kill(self) -> None:
        """End it and its descendants, whatever they do."""
        self._process.kill()
        self._process.wait(PATIENCE)
        for pid in marked(f"{_MARK}={self._mark}"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def serving(
    folder: Path, *arguments: Any, listeners: int = 1, raises: bool = False, **options: Any
) -> Iterator[Service]:
    """Run ``plugport serve`` in *folder* until the block ends; yield it once it listens.

    Then, unless the block has ended it already, SIGTERM must end it with status 0. In any case it
    must leave nothing behind, and unless it *raises* no traceback in its log.
    """
    service = Service(folder, *arguments, **options)
    try:
        service.listen(listeners)
        yield service
        if service.is_running():
            assert service.stop() == 0, service.output
        service.assert_nothing_left()
        assert raises or "Traceback" not in service.output, service.output
    finally:
        service.kill()


def only(text: str) -> str:
    """The one line that an error is."""
    assert text.startswith("plugport: "), text
    assert text.count("\n") == 1, text
    return text.removeprefix("plugport: ").rstrip()
