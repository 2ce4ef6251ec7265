"""``plugport bench``, over the real command line: what it measures, what it says, what it leaves behind."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import styles
from command import error_of, plugport
from fakes import SitePackages
from leaks import socket_files
from patience import PATIENCE, wait_until
from procfs import marked

from plugport_tools.bench.command import bench as command

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "bench.md"
SHORT = ("--seconds", "0.2", "--rounds", "2")
#: For a machine so busy that in a short time nobody is answered.
LONGER = ("--seconds", "2", "--rounds", "2")
ALL = {"sync", "threading", "forking", "thread-pool", "select", "asyncio"}


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder for temporary files, which must be empty in the end."""
    folder = tmp_path_factory.mktemp("t")
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def bench(folder: Path, *arguments: Any, status: int = 0, **env: str) -> str:
    """The output of ``plugport bench``, which must leave nothing behind and nothing on standard error."""
    result = plugport(folder, "bench", *SHORT, *arguments, env=env)
    if "no request was answered in 0.1 s" in result.stdout:
        result = plugport(folder, "bench", *LONGER, *arguments, env=env)
    assert (result.returncode, result.stderr) == (status, ""), result.stdout
    assert not socket_files(folder)
    return result.stdout


def measured(folder: Path, *arguments: Any) -> dict[str, Any]:
    """What ``plugport bench --json`` says; each strategy that it measured by name."""
    found: dict[str, Any] = json.loads(bench(folder, *arguments, "--json"))
    found["strategies"] = {each["strategy"]: each for each in found["strategies"]}
    for each in found["strategies"].values():
        each["seconds"] = found["seconds"]
    return found


def assert_sound(each: dict[str, Any]) -> None:
    """Whether the figures of a strategy can be true."""
    assert each["status"] == "measured", each
    assert each["errors"] == {}
    assert each["requests"] > 4
    assert each["requests_per_second"] == pytest.approx(each["requests"] / each["seconds"])
    assert 1 < each["cpu_us_per_request"] < 50_000
    assert 1 < each["p50_us"] <= each["p99_us"] < 2e6
    assert each["memory_bytes"] > 5e6
    assert 0 < each["processors_busy"] <= (os.cpu_count() or 1) + 0.2
    assert each["saturated"] == (each["processors_busy"] >= 0.9)
    assert each["served"] == each["connections"]


# What it measures -------------------------------------------------------------------------------


@pytest.mark.slow
def test_all_strategies_on_tcp(tmp_path: Path) -> None:
    found = measured(tmp_path, "echo")
    assert set(found["strategies"]) == ALL
    for each in found["strategies"].values():
        assert_sound(each)
    assert found["exchange"]["keep_alive"] is True
    # A serial strategy serves one connection to its end: the others would wait for ever.
    assert {name: each["connections"] for name, each in found["strategies"].items()} == {
        name: 1 if name == "sync" else 16 for name in ALL
    }
    assert found["recommendation"]["strategy"] in ALL - {"sync"}
    inner = (found["exchange"], found["strategies"]["select"], found["recommendation"])
    assert {key for each in (found, *inner) for key in each} == documented_keys()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["unix", "udp", "unixgram"])
def test_other_servers(tmp_path: Path, scheme: str) -> None:
    url = "udp://127.0.0.1:0" if scheme == "udp" else f"{scheme}://{tmp_path}/socket"
    found = measured(tmp_path, "echo", url, "-c", "thread-pool", "--connections", 3)
    assert found["url"] == url
    assert found["exchange"]["answer_unit"] == ("bytes" if scheme == "unix" else "datagrams")
    assert_sound(found["strategies"]["thread-pool"])
    assert found["strategies"]["thread-pool"]["connections"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "strategy"),
    [
        ("BlockingLines", "select"),
        ("ProtocolLines", "threading"),
        ("async_lines", "asyncio"),
        ("capitals", "asyncio"),
    ],
)
def test_a_handler_of_a_file_in_each_style(tmp_path: Path, handler: str, strategy: str) -> None:
    shutil.copy(Path(styles.__file__), tmp_path)
    assert_sound(measured(tmp_path, f"styles.py:{handler}", "-c", strategy)["strategies"][strategy])


@pytest.mark.slow
def test_the_processor_time_is_that_of_the_handler_wherever_it_runs(tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text(
        dedent("""
        import time
        from socketserver import StreamRequestHandler

        class Busy(StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    until = time.thread_time() + 0.002
                    while time.thread_time() < until:
                        pass
                    self.wfile.write(line)
        """)
    )
    arguments = ("-c", "threading", "-c", "forking", "--connections", 2, "--seconds", 0.6)
    for each in measured(tmp_path, "handlers.py:Busy", *arguments)["strategies"].values():
        assert 1_800 < each["cpu_us_per_request"] < 3_500
        assert each["p50_us"] > 1_900
        assert each["requests_per_second"] <= 500 * (os.cpu_count() or 1)


@pytest.mark.slow
def test_a_connection_for_each_request(tmp_path: Path) -> None:
    found = measured(tmp_path, "echo", "--new-connections", "-c", "sync", "-c", "select")
    assert found["exchange"]["keep_alive"] is False
    for each in found["strategies"].values():
        assert_sound(each)
        assert each["connections"] == 16


@pytest.mark.slow
def test_a_handler_that_speaks_without_being_asked(tmp_path: Path) -> None:
    found = measured(tmp_path, "daytime", "-c", "select")
    assert_sound(found["strategies"]["select"])
    assert (found["exchange"]["payload_bytes"], found["exchange"]["answer"]) == (0, None)


@pytest.mark.slow
def test_payloads(tmp_path: Path) -> None:
    (tmp_path / "request").write_bytes(b"\xff" * 100_000)
    for arguments, size in (
        (["--payload", r"a\r\n\t\0\\\xff\x41é"], 10),
        (["--payload-file", "request"], 100_000),
    ):
        found = measured(tmp_path, "echo", "-c", "select", *arguments)
        assert_sound(found["strategies"]["select"])
        assert found["exchange"]["payload_bytes"] == found["exchange"]["answer"] == size


@pytest.mark.slow
def test_http(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    request = r"GET /file HTTP/1.0\r\n\r\n"
    output = bench(
        tmp_path, "http.server:SimpleHTTPRequestHandler", "--payload", request, "-c", "thread-pool"
    )
    assert "beginning with 'HTTP/1.0 200 OK" in output


@pytest.mark.slow
def test_options_apply_to_the_strategies_that_have_them(tmp_path: Path) -> None:
    strategies = ("-c", "thread-pool", "-c", "threading")
    output = bench(tmp_path, "echo", *strategies, "-o", "max_workers=2", "--timeout", "1")
    pool, threading = re.findall(r"^thread.*$", output, re.MULTILINE)
    assert "x no answer within 1 s; only 2 of 16 clients were answered at all" in pool
    assert re.search(r" 0 +has no option max_workers=2$", threading)
    assert re.search(r"^recommended: threading ", output, re.MULTILINE)


@pytest.mark.slow
def test_global_options_reach_the_services(tmp_path: Path, site: SitePackages) -> None:
    site.add("broken", "raise OSError('out of order')")
    env = {"PYTHONPATH": site.python_path}
    arguments = ["--strict-plugins", "--disable-plugin", "broken", "bench", *SHORT, "echo", "-c", "select"]
    result = plugport(tmp_path, *arguments, env=env)
    assert (result.returncode, result.stderr) == (0, "")


# What it says -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_report_for_people(tmp_path: Path) -> None:
    arguments = ["counter", "-c", "forking", "-c", "select", "-c", "thread-pool"]
    lines = bench(tmp_path, *arguments, "--plot", tmp_path / "plot.svg").splitlines()
    assert lines[0] == (
        r"counter on tcp://127.0.0.1:0: nothing sent, answered by all till the end, "
        r"beginning with '1\n'; a connection for each request"
    )
    assert re.fullmatch(
        r"16 connections at once, 2 rounds of (0\.1|1) s; Python 3\.\S+, \d+ processors", lines[1]
    )
    header = r"strategy +requests/s +CPU us/request +p50 ms +p99 ms +memory MiB +errors +remarks"
    assert re.fullmatch(header, lines[3])
    number = r" +[\d,.]+"
    for name, line in zip(("select", "thread-pool"), lines[4:6], strict=True):
        assert re.fullmatch(rf"{name}{number}\*?{number * 4} +0", line), line
    rest = "\n".join(lines[6:])
    assert "\nforking is refused: the handler keeps state in memory" in f"\n{rest}"
    assert re.search(r"^recommended: (select|thread-pool) \(the least CPU time for a request, ", rest, re.M)
    assert "<!-- thread-pool -->" in (tmp_path / "plot.svg").read_text()
    assert ("*" in lines[4] + lines[5]) == ("* the service kept less than 90% of a processor busy" in rest)


def documented_keys() -> set[str]:
    """The keys of the JSON that the page has in the first column of a table."""
    cells = re.findall(r"^\| ((?:`[a-z]\w+`,? ?)+) \|", PAGE.read_text(), re.MULTILINE)
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


def test_the_page_has_commands_and_defaults_that_there_are() -> None:
    text = PAGE.read_text()
    commands = re.findall(r"^(?:\$ )?plugport bench (.*)$", text, re.MULTILINE)
    assert len(commands) > 4
    for line in commands:
        assert command.make_context("bench", shlex.split(line)).params["handler"]
    defaults = {option: found.default for found in command.params for option in found.opts}
    table = re.findall(r"^\| `(--\w+)` \| .* \| (\d+) \|$", text, re.MULTILINE)
    assert len(table) == 4
    assert {option: float(default) for option, default in table} == {
        option: defaults[option] for option, _ in table
    }


@pytest.mark.slow
def test_progress_on_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "plugport", "bench", *SHORT, "echo", "-c", "select", "--json"]
    terminal, stderr = pty.openpty()
    try:
        process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=stderr)
        os.close(stderr)
        drawn = b""
        try:
            while data := os.read(terminal, 65536):
                drawn += data
        except OSError:
            pass  # how a terminal on Linux says that nobody writes to it any more
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        os.close(terminal)
    assert process.returncode == 0
    assert b"select, round 2 of 2" in drawn
    assert json.loads(output)["recommendation"]["strategy"] == "select"


# What goes wrong --------------------------------------------------------------------------------

FAILING = """
    import os
    from socketserver import StreamRequestHandler

    class Failing(StreamRequestHandler):
        number = 0

        def handle(self):
            name = type(self.server).__name__
            for line in self.rfile:
                Failing.number += 1
                if name.startswith("Select") and Failing.number == 30:
                    os._exit(7)
                if name.startswith("Asyncio") and Failing.number % 10 == 9:
                    raise LookupError("on demand")
                self.wfile.write(line)

    class Never(StreamRequestHandler):
        def handle(self):
            if self.rfile.readline():
                os._exit(7)
"""


@pytest.mark.slow
def test_a_strategy_that_fails_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(dedent(FAILING))
    strategies = ("-c", "threading", "-c", "select", "-c", "asyncio")
    output = bench(tmp_path, "failing.py:Failing", *strategies)
    assert re.search(r"^threading .* 0$", output, re.MULTILINE)
    assert re.search(
        r"^asyncio .* (\d+) +\1 x closed without an answer; its log ends: LookupError: on demand$",
        output,
        re.MULTILINE,
    )
    assert re.search(r"^select failed: the service ended, with status 7$", output, re.MULTILINE)
    assert re.search(r"^recommended: threading ", output, re.MULTILINE)


@pytest.mark.slow
def test_none_can_be_measured(tmp_path: Path) -> None:
    # A window in which nobody can be answered.
    arguments = ("echo", "-c", "select", "--seconds", "1e-6", "--plot", tmp_path / "plot.svg")
    output = bench(tmp_path, *arguments, status=1)
    assert "select failed: no request was answered in 5e-07 s (more with --seconds)" in output
    assert "no recommendation: no strategy could be measured" in output
    assert not (tmp_path / "plot.svg").exists()


def refusal(folder: Path, *arguments: Any, **env: str) -> str:
    before = sorted(folder.rglob("*"))
    message = error_of(plugport(folder, "bench", *arguments, env=env))
    assert sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts) == before
    return message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'HANDLER'"),
        (["ehco"], "no handler named 'ehco'; did you mean 'echo'?"),
        (["echo", "tpc://127.0.0.1:0"], "no server named 'tpc'; did you mean 'tcp'?"),
        (["echo", "127.0.0.1:0"], "is not a URL"),
        (["echo", "tcp://127.0.0.1:0", "udp://127.0.0.1:0"], "unexpected extra argument"),
        (["echo", "-c", "treading"], "no concurrency strategy named 'treading'; did you mean 'threading'?"),
        (
            ["counter", "-c", "forking"],
            "counter can't be served by tcp under any of these strategies: forking:",
        ),
        (["exec", "udp://127.0.0.1:0", "-o", "argv=cat"], "a stream handler can't serve a datagram server"),
        (["exec"], "exec: no program to run"),
        (["echo", "-o", "max_wokers=1"], "no option 'max_wokers'"),
        (["echo", "-o", "max_workers=many"], "expected int > 0, got 'many'"),
        (["echo", "--seconds", "0"], "Invalid value for '--seconds'"),
        (["echo", "--seconds", "inf"], "Invalid value for '--seconds': inf is no number of seconds"),
        (["echo", "--seconds", "nan"], "Invalid value for '--seconds': nan is no number of seconds"),
        (["echo", "--timeout", "-1"], "Invalid value for '--timeout'"),
        (["echo", "--rounds", "1"], "Invalid value for '--rounds'"),
        (["echo", "--connections", "0"], "Invalid value for '--connections'"),
        (["echo", "--connections", "100000000"], "give fewer with --connections"),
        (["echo", "--payload", r"\q"], r"'\q' is none of \n, \r, \t, \0, \\ and \xHH"),
        (["echo", "--payload", "\\"], r"'\' is none of"),
        (["echo", "--payload", r"\x1"], r"'\x' is none of"),
        (["echo", "--payload-file", "missing"], "'missing': No such file or directory"),
        (["echo", "--payload", "a", "--payload-file", os.devnull], "exclude each other"),
        (["echo", "udp://127.0.0.1:0", "--new-connections"], "udp://127.0.0.1:0 has no connections"),
        (["echo", "--plot", "plot.pdf"], "can't plot to 'plot.pdf': the name must end in .svg or .png"),
        (["echo", "--plot", "plot"], "the name must end in .svg or .png"),
        (["echo", "--plot", "missing/plot.svg"], "there is no folder 'missing'"),
        (["discard"], "discard: the service closes the connection without an answer to 'hello, plugport"),
        (["discard", "udp://127.0.0.1:0"], "discard: nothing is answered to 'hello, plugport"),
        (["chargen", "--timeout", "0.3"], "chargen: the answer has no end"),
        (["echo", "udp://127.0.0.1:0", "--payload", "x" * 70_000], "failed: message too long"),
        (
            ["echo", "unix:///no/such/folder/socket", "-c", "sync"],
            "echo: can't listen on unix:///no/such/folder/socket:",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in refusal(tmp_path, *arguments)


def test_an_address_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        assert refusal(tmp_path, "echo", url, "-c", "select").startswith(
            f"echo: can't listen on {url}: the address is in use;"
        )


def test_a_service_that_ends_when_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(dedent(FAILING))
    message = refusal(tmp_path, "failing.py:Never", "-c", "threading", "-c", "select")
    assert message == "failing.py:Never: the service ended, with status 7"


def test_the_log_tells_why_there_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "def fail(message: bytes) -> bytes:\n    raise LookupError('on demand')\n"
    )
    message = refusal(tmp_path, "failing.py:fail", "-c", "threading")
    assert "closes the connection without an answer" in message
    assert message.endswith("; its log ends: LookupError: on demand")


def test_a_plot_without_matplotlib_is_refused_before_anything_runs(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['matplotlib'] = None\n")
    path = os.pathsep.join(filter(None, [str(hidden), os.environ.get("PYTHONPATH")]))
    # discard would be an error, too, but a later one.
    message = refusal(tmp_path, "discard", "--plot", "plot.svg", PYTHONPATH=path)
    assert message == "a plot needs matplotlib: pip install 'plugport[plot]'"


# What it leaves behind --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_it_and_all_that_it_has_started(tmp_path: Path, number: int, status: int) -> None:
    mark = f"PLUGPORT_TEST_MARK=bench.{os.getpid()}.{int(number)}."
    name, _, value = mark.partition("=")
    arguments = ["bench", "echo", f"unix://{tmp_path}/socket", "-c", "forking", "--seconds", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "plugport", *arguments],
        cwd=tmp_path,
        env=os.environ | {name: value},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # The command, the service with its children, and the load.
    wait_until(lambda: len(marked(mark)) > 16)
    os.killpg(process.pid, number)  # as a terminal does
    output, complaint = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output, complaint) == (status, "", "")
    assert not marked(mark)
    assert not socket_files(tmp_path)


def test_the_help_page_does_without_what_measures() -> None:
    code = """
import sys
from plugport.cli import main
try:
    main(["--help"])
finally:
    loaded = {name for name in sys.modules if name.startswith("plugport_tools.bench.")}
    sys.exit(str(loaded) if loaded - {"plugport_tools.bench.settings"} else 0)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "\n  bench " in result.stdout
    assert (result.returncode, result.stderr) == (0, "")
