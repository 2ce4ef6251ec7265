"""Fixtures for tests that run servers, or install packages."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from composed import LOCALHOST, Build, Line, Shared, compose
from environments import Environment, build_wheel
from fakes import Run, SitePackages
from isolation import hide_other_plugins
from leaks import LeakCheck
from once import made_once
from patience import Call
from recording import Recorder

from plugport.serving import listener
from plugport_builtins.servers.tcp import TCPServer

ROOT = Path(__file__).parents[1]

hide_other_plugins()

# A shell has what it starts in the background ignore Ctrl-C, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Two workers for each processor: tests wait about as much as they compute."""
    return 2 * len(os.sched_getaffinity(0))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose tools are missing; fail it where PLUGPORT_TEST_TOOLS says ``required``."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    names = [name for mark in item.iter_markers("tools") for name in mark.args]
    missing = [name for name in names if not shutil.which(name, path=path)]
    if missing:
        outcome = pytest.fail if os.environ.get("PLUGPORT_TEST_TOOLS") == "required" else pytest.skip
        outcome(f"needs {', '.join(missing)}")


@pytest.fixture
def no_leaks(tmp_path: Path) -> Iterator[None]:
    """Fails a test that leaves a thread, descriptor, child or socket file behind."""
    before = LeakCheck(tmp_path)
    yield
    before.assert_unchanged()


@pytest.fixture
def closing(no_leaks: None) -> Iterator[Callable[[Any], Any]]:
    """closing(server) returns the server, which is closed after the test."""
    servers: list[Any] = []

    def close_later(server: Any) -> Any:
        servers.append(server)
        return server

    yield close_later
    for server in servers:
        Call(server.server_close).result()


@pytest.fixture
def serve(closing: Callable[[Any], Any]) -> Iterator[Callable[..., Call]]:
    """serve(server) runs serve_forever() in a thread; after the test the server is shut down and closed."""
    running: list[tuple[Any, Call]] = []

    def start(server: Any, poll_interval: float = 0.5) -> Call:
        call = Call(closing(server).serve_forever, poll_interval)
        running.append((server, call))
        return call

    yield start
    for server, call in running:
        if call.is_alive():
            Call(server.shutdown).result()
        call.result()


@pytest.fixture
def recorder() -> Recorder:
    """Hooks that note their calls: ``server.hooks = recorder.hooks``."""
    return Recorder()


@pytest.fixture
def build(closing: Callable[[Any], Any], recorder: Recorder) -> Build:
    """build(strategy, handler, **members) is a server on a port of localhost, whose hooks are recorded."""

    def build_server(strategy: type, handler: Any = Line, *, on: type = TCPServer, **members: Any) -> Any:
        address = members.pop("address", LOCALHOST)
        server = closing(compose(strategy, on, **members)(address, handler))
        server.hooks = recorder.hooks
        return server

    return build_server


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    """A file that child processes can write to as well: add(b"x"), and seen."""
    return Shared(tmp_path / "shared")


@pytest.fixture
def short_abort_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that were aborted have only a moment to end."""
    monkeypatch.setattr(listener, "ABORT_GRACE", 0.05)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SitePackages]:
    """An empty directory on sys.path, for distributions of the test's own."""
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.delenv("PLUGPORT_DISABLE", raising=False)
    monkeypatch.syspath_prepend(path)
    site = SitePackages(path)
    yield site
    site.forget_modules()


@pytest.fixture
def run(site: SitePackages) -> Run:
    """run(*arguments) is the result of ``plugport`` with these, in a process that sees *site*."""

    def run_plugport(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "plugport", *arguments],
            env={**os.environ, "PYTHONPATH": site.python_path, **env},
            cwd=site.path.parent,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run_plugport


@pytest.fixture(scope="session")
def plugport_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of plugport, built once."""
    (wheel,) = made_once(tmp_path_factory, "plugport", partial(build_wheel, ROOT)).glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def example_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the example of a third party's package, built once."""
    project = ROOT / "contrib" / "plugport-example"
    (wheel,) = made_once(tmp_path_factory, "example", partial(build_wheel, project)).glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def with_pip(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with a pip of its own, to be copied."""
    make = partial(Environment, with_pip=True)
    return Environment(made_once(tmp_path_factory, "with-pip", make))


@pytest.fixture(scope="session")
def with_plugport(
    with_pip: Environment, plugport_wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """An environment with plugport, and a pip of its own, to be copied."""

    def make(folder: Path) -> None:
        with_pip.copy(folder).pip("install", "--compile", plugport_wheel)

    return Environment(made_once(tmp_path_factory, "with-plugport", make))
