"""plugport serve."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from announced import ask, serving, url_of
from command import only
from fakes import Run, SitePackages


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_several_urls_with_options(my_dist: SitePackages, tmp_path: Path, stop: signal.Signals) -> None:
    path = str(tmp_path / "upper.sock")
    arguments = ["upper", "tcp://127.0.0.1:0", f"unix://{path}", "-o", "prefix=> ", "-o", "socket_mode=0600"]
    with serving(my_dist, 2, *arguments, "--access-log", "--log-level", "error") as (process, urls):
        port = int(urls[0].rpartition(":")[2])
        assert ask(("127.0.0.1", port), b"hello\n") == b"> HELLO\n"
        assert ask(path, b"hello\n") == b"> HELLO\n"
        assert os.stat(path).st_mode & 0o777 == 0o600
        process.send_signal(stop)
        assert process.wait(30) == 0
        assert process.stderr is not None
        lines = process.stderr.read().splitlines()
    assert not os.path.exists(path)
    assert len(lines) == 2
    assert " INFO 1 tcp upper 127.0.0.1:" in lines[0]
    assert " completed in " in lines[0]


def test_a_rejection_is_logged_once(my_dist: SitePackages) -> None:
    plugin = "@plugport.hookimpl\ndef plugport_verify_request(): return 'not today'\n"
    my_dist.add("closed", plugin)
    for more, line in (["--access-log"], "- tcp upper "), ([], "rejected "):
        with serving(my_dist, 1, "upper", "tcp://127.0.0.1:0", *more) as (process, (url,)):
            assert ask(("127.0.0.1", int(url.rpartition(":")[2])), b"") == b""
            process.terminate()
            assert process.wait(30) == 0
            assert process.stderr is not None
            told = process.stderr.read()
        assert f" INFO {line}" in told
        assert told.endswith(": not today\n")
        assert told.count("\n") == 1


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_signals_by_the_dozen_change_no_exit_status(my_dist: SitePackages, stop: signal.Signals) -> None:
    """A supervisor may repeat itself until the process is gone, to the interpreter's last moment."""
    with serving(my_dist, 1, "upper", "tcp://127.0.0.1:0") as (process, _):
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            process.send_signal(stop)
            time.sleep(0.001)  # so that there is time to end in
        assert process.wait(1) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_serve_a_file_with_a_warning(my_dist: SitePackages) -> None:
    with serving(my_dist, 1, "my_handlers.py:Upper", "tcp://127.0.0.1:0", "-c", "sync") as (_, urls):
        assert ask(("127.0.0.1", int(urls[0].rpartition(":")[2])), b"x\n") == b"X\n"


def test_a_port_in_use_leaves_nothing_behind(run: Run, my_dist: SitePackages, tmp_path: Path) -> None:
    path = tmp_path / "first.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        result = run("serve", "upper", f"unix://{path}", url)
    assert result.returncode == 2
    assert f"can't listen on {url}: the address is in use" in only(result.stderr)
    assert not path.exists()


PREPARING = """
    @plugport.hookimpl
    def plugport_register_concurrency():
        yield plugport.Component("early", "early_strategy:EarlyMixIn")
"""

EARLY = """
import sys
import time
from typing import Annotated
from plugport import Help
import plugport
from plugport.errors import OptionError

class EarlyMixIn:
    traits = plugport.StrategyTraits()
    word: Annotated[str, Help("what it says")] = "early"

    @classmethod
    def prepare_process(cls):
        if cls.word == "late":
            raise OptionError("it is too late for that")
        sys.early = cls.word
        return [f"{cls.word}, {'late_handler' in sys.modules}"]
"""

LATE = """
import sys, plugport

class Late(plugport.StreamRequestHandler):
    word = sys.early
    def handle(self):
        self.wfile.write(self.word.encode())
"""


@pytest.fixture
def early(site: SitePackages) -> SitePackages:
    site.add("early", PREPARING, files={"early_strategy.py": EARLY, "late_handler.py": LATE})
    return site


@pytest.mark.parametrize(
    ("options", "word"),
    [([], "early"), (["-o", "word=first"], "first"), (["-o", "concurrency.word=a=b"], "a=b")],
)
def test_a_strategy_prepares_the_process_before_the_handler_is_imported(
    early: SitePackages, options: list[str], word: str
) -> None:
    command = [sys.executable, "-m", "plugport", "serve", "late_handler:Late", "tcp://127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "-c", "early", *options],
        env={**os.environ, "PYTHONPATH": early.python_path},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert process.stderr.readline() == f"plugport: warning: {word}, False\n"
        port = int(url_of(process.stderr).rpartition(":")[2])
        assert ask(("127.0.0.1", port), b"") == word.encode()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("word=late", "it is too late for that"),
        ("word", "option 'word' is not KEY=VALUE"),
        ("wort=x", "no option 'wort'; did you mean 'word'?"),
        ("handler.word=x", "no option 'handler.word'"),
    ],
)
def test_a_strategy_that_can_t_prepare_it(run: Run, early: SitePackages, option: str, message: str) -> None:
    result = run("serve", "late_handler:Late", "tcp://127.0.0.1:0", "-c", "early", "-o", option)
    assert result.returncode == 2
    assert message in next(line for line in result.stderr.splitlines() if "warning" not in line)


def test_only_serving_prepares(run: Run, early: SitePackages) -> None:
    result = run("check", "echo", "tcp", "early")
    assert (result.returncode, result.stdout, result.stderr) == (0, "legal\n", "")
