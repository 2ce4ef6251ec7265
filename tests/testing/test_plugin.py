"""The plugin of pytest's, in runs of pytest's own: what it costs, what it finds, and beside what it works."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import pytest
from patience import PATIENCE

#: As strict as a project can be, and laid out as one with a package and helpers that are not installed.
STRICT = """
[pytest]
addopts = --strict-markers --strict-config --import-mode=importlib -p no:cacheprovider
pythonpath = src helpers
testpaths = tests
filterwarnings = error
"""

SOUND = """
import pytest
from helper import QUESTION
from package.handlers import upper
from plugport_testing.conformance import HandlerConformance, ServerConformance

@pytest.mark.parametrize("concurrency", ["sync", "threading", "thread-pool", "forking", "select", "asyncio"])
@pytest.mark.parametrize("scheme", ["tcp", "unixgram"])
def test_served(plugport_serve, scheme, concurrency):
    service = plugport_serve(upper, scheme, concurrency)
    assert service.exchange(QUESTION) == QUESTION.upper()

def test_an_import_may_keep_something(plugport_serve):
    service = plugport_serve(upper, concurrency="package.strategies:KeepsMixIn")
    assert service.exchange(QUESTION) == QUESTION.upper()

def test_no_leaks(plugport_leaks):
    with open(__file__) as file:
        assert file.readable()

class TestUpper(HandlerConformance):
    handler = upper
    exchange = (QUESTION, QUESTION.upper())

class TestUnix(ServerConformance):
    server = "unix"
    strategies = ("forking",)
"""

FAULTY = """
import os, socket, subprocess, sys, threading
import pytest
from plugport import BaseRequestHandler

KEPT = []

@pytest.fixture(autouse=True)
def _release():
    yield
    for end in KEPT:
        end()
    KEPT.clear()

def test_thread(plugport_leaks):
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, name="lost thread")
    thread.start()
    KEPT.extend([gate.set, thread.join])

def test_descriptor(plugport_leaks):
    file = open(__file__)
    KEPT.append(file.close)

def test_child(plugport_leaks):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    KEPT.extend([child.stdin.close, child.wait])

def test_socket_file(plugport_leaks, tmp_path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"{tmp_path}/lost")

def test_served(plugport_serve):
    class LeaksAFile(BaseRequestHandler):
        def handle(self):
            KEPT.append(open(__file__).close)
    service = plugport_serve(LeaksAFile)
    service.exchange(b"")

def test_both(plugport_serve):
    plugport_serve("echo")
    raise LookupError("the test's own")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that is not installed."""
    for name, source in {
        "pytest.ini": STRICT,
        "src/package/__init__.py": "",
        "src/package/strategies.py": "import os, plugport\nKEPT = os.pipe()\n"
        "class KeepsMixIn: traits = plugport.StrategyTraits()\n",
        "src/package/handlers.py": "def upper(message): return message.upper()",
        "helpers/helper.py": "QUESTION = b'a question\\n'",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    (tmp_path / "tests").mkdir()
    return tmp_path


def run_pytest(project: Path, source: str, *arguments: str) -> dict[str, str]:
    """Run pytest on a module; return what went wrong, by the name of the test: "" if nothing did."""
    (project / "tests" / "test_it.py").write_text(source)
    report = project / "report.xml"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", f"--junitxml={report}", *arguments],
        cwd=project,
        env={**environ, "PLUGPORT_TEST_PATIENCE": "2"},
        capture_output=True,
        text=True,
        timeout=12 * PATIENCE,
    )
    assert report.exists(), result.stdout + result.stderr
    outcomes: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        faults = [fault.get("message", "") for fault in case if fault.tag in ("failure", "error")]
        outcomes[case.get("name", "")] = "; ".join(
            filter(None, [outcomes.get(case.get("name", "")), *faults])
        )
    return outcomes


@pytest.mark.slow
def test_a_sound_project(project: Path) -> None:
    outcomes = run_pytest(project, SOUND, "-n", "2", "-W", "error")
    assert len(outcomes) > 50
    assert {name: fault for name, fault in outcomes.items() if fault} == {}


@pytest.mark.slow
def test_what_is_left_behind_fails_the_test(project: Path) -> None:
    outcomes = run_pytest(project, FAULTY)
    for name, fault in {
        "test_thread": "left behind: thread lost thread",
        "test_descriptor": "test_it.py",
        "test_child": "a child",
        "test_socket_file": "/lost",
        "test_served": "test_it.py",
    }.items():
        assert "left behind: " in outcomes[name]
        assert fault in outcomes[name]
    assert "left behind" not in outcomes["test_both"]
    assert "the test's own" in outcomes["test_both"]


def python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=6 * PATIENCE
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_it_is_found_by_its_entry_point() -> None:
    found = python(
        """
        from importlib.metadata import entry_points
        print(*[one.value for one in entry_points(group="pytest11", name="plugport")])
        """
    )
    assert found == "plugport_testing.plugin"


def test_loading_it_imports_pytest_and_nothing_else_that_is_not_the_standard_library() -> None:
    new = python(
        """
        import sys, pytest
        before = set(sys.modules)
        import plugport_testing.plugin
        new = set(sys.modules) - before
        print(*sorted(new))
        """
    ).split()
    ours = [name for name in new if name.startswith("plugport")]
    assert ours == ["plugport_testing", "plugport_testing.plugin"]
    others = {name.partition(".")[0] for name in new} - {"plugport_testing"}
    assert others <= sys.stdlib_module_names
    assert "asyncio" not in others


def test_a_run_of_pytest_that_does_not_use_it_imports_no_more(project: Path) -> None:
    source = """
import sys

def test_nothing():
    ours = sorted(name for name in sys.modules if name.partition(".")[0].startswith("plugport"))
    assert ours == ["plugport_testing", "plugport_testing.plugin"]
"""
    assert run_pytest(project, source) == {"test_nothing": ""}


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf", ""])
def test_invalid_patience(value: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import plugport_testing.waiting"],
        env={**os.environ, "PLUGPORT_TEST_PATIENCE": value},
        capture_output=True,
        text=True,
        timeout=6 * PATIENCE,
    )
    *_, last = result.stderr.splitlines()
    assert last == f"ValueError: PLUGPORT_TEST_PATIENCE: {value!r} is no number of seconds above 0"
