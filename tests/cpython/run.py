"""Runs CPython's own tests of socketserver and its users with plugport's drop-in in its place.

    python tests/cpython/run.py [--baseline] [--timeout SECONDS] [--jobs N] [SUITE ...]

The suites are those of the interpreter that runs this. ``plugport`` and ``plugport_builtins`` are
taken from this tree, what they depend on from the environment. Each suite runs in a process of its
own, so that one which hangs is one failure. ``--baseline`` leaves the standard module where it is:
what fails there too is not the drop-in's fault.

Exit status: 0 all passed, 1 something failed, 2 usage, 3 this interpreter has no tests (Debian's,
for one, come without).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]

SUITES = (
    "test_socketserver",
    "test_httpservers",
    "test_xmlrpc",
    "test_docxmlrpc",
    "test_wsgiref",
    "test_logging",
    "test_urllib2_localnet",
    "test_imaplib",
)

#: Tests left out of both runs: the start of their id, and why.
EXCLUDED = {
    "test.test_imaplib.RemoteIMAP": "talks to a host on the internet, which no longer answers",
    "test.test_logging.NTEventLogHandlerTest": "needs Windows",
}

NO_TESTS = 3


@dataclass
class Report:
    """What became of one suite."""

    suite: str
    tests: int = 0
    failures: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    servers: int = 0
    seconds: float = 0.0
    log: str = ""


# In the process of one suite


def install_drop_in() -> ModuleType:
    """Put plugport's drop-in where ``import socketserver`` finds it."""
    sys.path[:0] = [str(ROOT / "core"), str(ROOT / "plugins")]
    drop_in = importlib.import_module("plugport_builtins.socketserver")
    for name in {*drop_in.__all__, *vars(drop_in)}:
        # test_all compares __all__ with the public names whose __module__ is the standard one.
        value = getattr(drop_in, name)
        if name in drop_in.__all__ or getattr(value, "__module__", None) == drop_in.__name__:
            with contextlib.suppress(AttributeError, TypeError):
                value.__module__ = "socketserver"
    sys.modules["socketserver"] = drop_in
    return drop_in


def standard_code(module: ModuleType) -> list[str]:
    """Name the functions in *module*'s classes, and in their bases, that are the standard library's."""
    standard = importlib.util.find_spec("http").origin  # type: ignore[union-attr]
    path = str(Path(str(standard)).parents[1] / "socketserver.py")
    classes = {base for name in module.__all__ for base in getattr(module, name).__mro__}
    return [
        f"{cls.__qualname__}.{name}"
        for cls in classes
        for name, value in vars(cls).items()
        if getattr(getattr(value, "__code__", None), "co_filename", None) == path
    ]


def doubts(module: ModuleType, baseline: bool) -> Iterator[str]:
    """Yield whatever speaks against *module* being the one under test."""
    for user in ("socketserver", "http.server", "xmlrpc.server", "wsgiref.simple_server", "logging.config"):
        importlib.import_module(user)
    users = {
        "http.server.HTTPServer": module.TCPServer,
        "http.server.BaseHTTPRequestHandler": module.StreamRequestHandler,
        "xmlrpc.server.SimpleXMLRPCServer": module.TCPServer,
        "wsgiref.simple_server.WSGIServer": module.BaseServer,
        "logging.config.ThreadingTCPServer": module.ThreadingTCPServer,
    }
    if sys.modules["socketserver"] is not module:
        yield "'import socketserver' gives another module"
    for name, base in users.items():
        owner, _, attribute = name.rpartition(".")
        if not issubclass(getattr(sys.modules[owner], attribute), base):
            yield f"{name} does not derive from {base.__name__} of {module.__file__}"
    if bool(standard_code(module)) is not baseline:
        theirs = ", ".join(standard_code(module)[:3])
        yield f"{module.__file__} runs {theirs or 'nothing'} of the standard module"


def flatten(suite: unittest.TestSuite) -> Iterator[Any]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def load(suite: str) -> unittest.TestSuite:
    with contextlib.ExitStack() as stack:
        if suite == "test_httpservers" and hasattr(os, "geteuid") and os.geteuid() == 0:
            # CGIHTTPServer run by root starts its scripts as nobody, who may not read them, so the
            # suite skips its CGI tests for root. Let nobody be root, and the suite see another user.
            http_server: Any = importlib.import_module("http.server")
            http_server.nobody_uid = os.getuid
            stack.enter_context(mock.patch("os.geteuid", return_value=65534))
        loaded = unittest.defaultTestLoader.loadTestsFromName(f"test.{suite}")
    return unittest.TestSuite(
        # Without the hooks of the classes' and modules' suites: TestSuite.run calls them by itself.
        test
        for test in flatten(loaded)
        if not test.id().startswith(tuple(EXCLUDED))
    )


def run_here(suite: str, baseline: bool) -> Report:
    """Run *suite* in this process."""
    report = Report(suite)
    module = importlib.import_module("socketserver") if baseline else install_drop_in()
    report.failures += doubts(module, baseline)
    if report.failures:
        return report

    def count(server: object, *args: Any, **kwargs: Any) -> None:
        report.servers += 1
        original(server, *args, **kwargs)

    original = module.BaseServer.__init__
    module.BaseServer.__init__ = count

    # support.use_resources stays None, which means all, 'network' and 'walltime' among them.
    support: Any = importlib.import_module("test.support")
    os_helper = importlib.import_module("test.support.os_helper")
    with os_helper.temp_cwd():
        result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(load(suite))
    report.tests = result.testsRun
    report.failures += [test.id() for test, _ in (*result.failures, *result.errors)]
    report.failures += [f"{test.id()} (unexpected success)" for test in result.unexpectedSuccesses]
    report.skipped += [f"{test.id()}: {reason}" for test, reason in result.skipped]
    if support.environment_altered:
        report.failures.append("threads, children or descriptors were left behind")
    if not report.tests:
        report.failures.append("the suite ran no tests")
    if not report.servers:
        report.failures.append(f"the suite made no server of {module.__file__}")
    return report


# In the process that runs them all


def run_apart(suite: str, baseline: bool, timeout: float) -> Report:
    """Run *suite* in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        answer = Path(directory, "report.json")
        command = [sys.executable, "-P", "-X", "faulthandler", __file__, suite, "--into", str(answer)]
        command += ["--timeout", str(timeout)] + ["--baseline"] * baseline
        started = time.monotonic()
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                # Some more than the suite gives itself, after which it says where it hangs.
                status = f"exit status {process.wait(timeout + 10)}"
            except subprocess.TimeoutExpired:
                status = f"ended after {timeout:g} s"
            finally:
                # Also after a regular end: children that the suite forgot would stay.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            output.seek(0)
            log = output.read().decode(errors="replace")
        if answer.exists():
            report = Report(**json.loads(answer.read_text()))
        else:
            report = Report(suite, failures=[f"the suite did not finish ({status}); its output is above"])
        report.seconds = time.monotonic() - started
        report.log = log
        return report


def table(reports: list[Report]) -> str:
    head = f"{'suite':24}{'tests':>7}{'failures':>10}{'skipped':>9}{'servers':>9}{'seconds':>9}"
    rows = [
        f"{r.suite:24}{r.tests:7}{len(r.failures):10}{len(r.skipped):9}{r.servers:9}{r.seconds:9.1f}"
        for r in reports
    ]
    return "\n".join([head, "-" * len(head), *rows])


def main() -> int:
    parser = argparse.ArgumentParser(description="CPython's tests of socketserver, over plugport's drop-in.")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--baseline", action="store_true", help="test the standard module instead")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for each suite (300)")
    parser.add_argument("--jobs", type=int, default=2, help="suites to run at a time (2)")
    parser.add_argument("--into", help=argparse.SUPPRESS)
    options = parser.parse_args()
    suites = options.suites or list(SUITES)
    if unknown := set(suites) - set(SUITES):
        parser.error(f"no suite named {', '.join(sorted(unknown))}")

    if options.into:
        importlib.import_module("faulthandler").dump_traceback_later(options.timeout, exit=True)
        Path(options.into).write_text(json.dumps(asdict(run_here(suites[0], options.baseline))))
        return 0

    try:
        missing = [suite for suite in suites if not importlib.util.find_spec(f"test.{suite}")]
    except ModuleNotFoundError:
        missing = suites
    if missing:
        print(
            f"{sys.executable} ({platform.python_version()}) comes without the standard library's tests: "
            f"no {', '.join(missing)}. A Python built from source has them.",
            file=sys.stderr,
        )
        return NO_TESTS

    subject = "the standard module" if options.baseline else "plugport_builtins.socketserver"
    print(f"CPython {platform.python_version()}: tests of socketserver over {subject}", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        reports = list(pool.map(lambda suite: run_apart(suite, options.baseline, options.timeout), suites))
    for report in reports:
        if report.failures:
            print(f"\n===== {report.suite} =====\n{report.log}")
    print(table(reports))
    for report in reports:
        for skipped in report.skipped:
            print(f"skipped: {skipped}")
    for report in reports:
        for failure in report.failures:
            print(f"FAILED: {report.suite}: {failure}")
    failures = sum(len(report.failures) for report in reports)
    tests = sum(report.tests for report in reports)
    print(f"CPython {platform.python_version()}: {tests} tests in {len(reports)} suites, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
