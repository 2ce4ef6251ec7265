"""The parts of the benchmarks that need neither a compiler nor the peers' packages.

With both, ``run.py --smoke`` tests the rest; .ci/run does it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

import accounts
import compiler
import handlers
import peers
from bar import CPU, MEMORY, Bar, Peer
from bars import BARS
from earlier import earlier
from errors import BenchmarkError
from experiment import Figures
from fakes import SitePackages
from loads import Load
from page import put_table
from patience import PATIENCE, wait_until
from procfs import children
from report import Table
from results import Result, Spread
from servers import Running, Server, counting, peer, plugport
from surroundings import in_words, required, surroundings, versions

OURS = plugport("select", "ProtocolEcho", note="protocol")
THEIRS = peer("asyncio-protocol", "asyncio Protocol")
#: As it is before a round has measured anything.
NOTHING = Figures(**dict.fromkeys(Figures.__dataclass_fields__, 0))


def rounds(**values: list[float]) -> tuple[Figures, ...]:
    """Figures of which those that are named have these values, a round each."""
    columns = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return tuple(replace(NOTHING, **column) for column in columns)


def result(at_most: float | None = 0.9, own: float | None = None) -> Result:
    """Of three rounds in which ours is 0.5, 1 and 0.8 of theirs."""
    bar = Bar("some", "Something", Load(), OURS, (Peer(THEIRS, at_most),), CPU, own)
    return Result(bar, (rounds(cpu_us=[5, 3, 8], per_second=[1, 7, 9]), rounds(cpu_us=[10, 3, 10])))


# Results --------------------------------------------------------------------------------------


def test_a_figure_is_the_median_and_the_extremes_of_its_rounds() -> None:
    ours, theirs = result().rows()
    assert (ours.server, ours.figure, ours.ratio) == (OURS.name, Spread(5, 3, 8), None)
    assert (theirs.server, theirs.figure) == (THEIRS.name, Spread(10, 3, 10))
    assert ours.median("per_second") == 7


def test_a_ratio_is_the_median_of_the_ratios_of_rounds() -> None:
    # The ratio of the medians would be 0.5.
    assert result().rows()[1].ratio == Spread(0.8, 0.5, 1.0)


@pytest.mark.parametrize(("at_most", "met"), [(0.79, False), (0.8, True), (None, None)])
def test_a_bar_is_met_by_the_ratio(at_most: float | None, met: bool | None) -> None:
    found = result(at_most)
    assert [row.met for row in found.rows()] == [None, met]
    assert found.missed() is (met is False)


@pytest.mark.parametrize(("at_most", "met"), [(4.9, False), (5, True)])
def test_a_bar_of_a_figure_itself_is_met_by_that(at_most: float, met: bool) -> None:
    found = result(None, at_most)
    assert [row.met for row in found.rows()] == [met, None]
    assert found.missed() is not met


def test_nothing_is_compared_with_nothing() -> None:
    bar = Bar("idle", "At rest", Load(), OURS, (Peer(THEIRS),), MEMORY)
    with pytest.raises(BenchmarkError, match=f"^{THEIRS.name}: a figure of 0"):
        Result(bar, (rounds(bytes_used=[1]), rounds(bytes_used=[0])))


def test_all_of_a_result_goes_to_json_and_back() -> None:
    found = json.loads(json.dumps(result().describe()))
    assert (found["name"], found["metric"]) == ("some", "cpu_us")
    ours, theirs = found["servers"]
    assert [figures["cpu_us"] for figures in ours["rounds"]] == [5, 3, 8]
    assert (theirs["ratio"], theirs["at_most"], theirs["met"]) == (
        {"median": 0.8, "least": 0.5, "most": 1.0},
        0.9,
        True,
    )
    assert theirs["load"]["connections"] == 64


def test_results_of_earlier_runs_are_merged_and_the_last_one_counts(tmp_path: Path) -> None:
    other = replace(result().bar, name="other")
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    shorter = tuple(one[:1] for one in result().rounds)
    described = [result().describe(), Result(other, shorter).describe()]
    first.write_text(json.dumps({"bars": described}))
    second.write_text(json.dumps({"bars": [Result(result().bar, shorter).describe()]}))
    assert earlier([first, second], [result().bar]) == {"some": Result(result().bar, shorter)}
    assert earlier([second, first], [result().bar, other]) == {
        "some": result(),
        "other": Result(other, shorter),
    }


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (None, "can't read .*: No such file"),
        ("[]", "does not hold what run.py --json writes"),
        ("{}", "does not hold what run.py --json writes"),
        (
            json.dumps({"bars": [result().describe()]}).replace(THEIRS.name, "Another"),
            f"some was measured with .*Another, and is now .*{THEIRS.name}",
        ),
    ],
)
def test_what_can_t_be_merged_is_told(tmp_path: Path, written: str | None, message: str) -> None:
    path = tmp_path / "results.json"
    if written is not None:
        path.write_text(written)
    with pytest.raises(BenchmarkError, match=message):
        earlier([path], [result().bar])


# The table ------------------------------------------------------------------------------------


def test_the_table_goes_to_its_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{Table(markdown=True).head()}\n| old |\n| older |\n\n| another |\n")
    put_table([result()], page)
    table = Table(markdown=True)
    lines = [*table.head().split("\n"), *table.lines(result()).split("\n")]
    assert page.read_text().splitlines() == ["# Title", "", *lines, "", "| another |"]
    page.write_text("# Title\n")
    with pytest.raises(BenchmarkError, match="has no table of results"):
        put_table([result()], page)


def test_the_table_is_aligned() -> None:
    table = Table()
    head, ours, theirs = [table.head(), *table.lines(result(0.5)).split("\n")]
    end = head.index("at most") + len("at most")
    assert ours.startswith("some  ")
    assert " ".join(theirs[:end].split()) == "asyncio Protocol 10.00 µs (3.00..10.00) 0.80 (0.50..1.00) 0.5"
    assert theirs[:end].endswith(" 0.5")
    assert theirs[end:].split()[0] == "MISSED"


def test_the_table_in_markdown() -> None:
    table = Table(markdown=True)
    head, rule, ours, theirs = [*table.head().split("\n"), *table.lines(result(own=5)).split("\n")]
    assert {line.count("|") for line in (head, rule, ours, theirs)} == {13}
    assert "| 5.00 µs (3.00..8.00) |  | 5.00 µs | met |" in ours
    assert "| 10.00 µs (3.00..10.00) | 0.80 (0.50..1.00) | 0.9 | met |" in theirs


# The bars -------------------------------------------------------------------------------------


def test_bars_have_names_of_their_own() -> None:
    assert len({bar.name for bar in BARS}) == len(BARS)


@pytest.mark.parametrize("bar", BARS, ids=lambda bar: bar.name)
def test_a_bar_names_what_there_is(bar: Bar) -> None:
    assert len({server.name for server, _ in bar.subjects()}) == 1 + len(bar.peers)
    for server, load in bar.subjects():
        assert load.rate == 0 or load.requests == 0
        if server.name == "C epoll":
            continue  # to ask for its command line is to compile it
        command = server.command("127.0.0.1")
        if command[1] == "-m":
            handler = command[4].rpartition(":")[2]
            assert hasattr(handlers, handler)
        else:
            assert command[2] in peers.PEERS


def test_a_load_is_a_command_line() -> None:
    load = Load(mode="datagram", connections=3, requests=2_000_000)
    assert load.arguments() == [
        "--mode=datagram",
        "--connections=3",
        "--size=100",
        "--depth=1",
        "--requests=2000000",
        "--warm-up=0.2",
        "--patience=10",
    ]
    assert load.lasting(3) == load
    assert Load().lasting(3).seconds == 3


@pytest.mark.parametrize("bar", BARS, ids=lambda bar: bar.name)
def test_a_tiny_load_is_of_the_same_kind(bar: Bar) -> None:
    for _, load in bar.subjects():
        tiny = load.tiny()
        assert (tiny.mode, tiny.size, tiny.depth) == (load.mode, load.size, load.depth)
        assert tiny.connections + tiny.idle + tiny.drip <= 2000
        assert tiny.requests >= tiny.connections or tiny.rate


# The accounts ---------------------------------------------------------------------------------

SPENDER = """
import os, resource, time

def spend(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass

if not os.fork():
    spend(0.15)
    os._exit(0)
spend(0.1)
os.wait()
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(sum(one.ru_utime + one.ru_stime for one in used), flush=True)
input()
"""


def test_the_processor_time_is_that_of_a_process_and_its_children() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-S", "-c", SPENDER], text=True, **pipes) as process:
        assert process.stdout is not None
        told = float(process.stdout.readline())
        spent = accounts.settled(process.pid)
        process.communicate("\n")
    assert told >= 0.25
    assert abs(spent - told) < 0.025  # children are accounted in ticks of 10 ms; and the print() itself


def test_a_server_is_not_at_rest_before_its_children_have_been_waited_for() -> None:
    parent = "import os, sys; os.fork() or os._exit(0); sys.stdin.readline(); os.wait(); sys.stdin.readline()"
    with subprocess.Popen([sys.executable, "-S", "-c", parent], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        wait_until(lambda: children(process.pid))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(accounts, "_PATIENCE", 0.1)
            with pytest.raises(BenchmarkError, match="does not come to rest"):
                accounts.settled(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert accounts.settled(process.pid) > 0
        process.stdin.write(b"\n")


def test_the_memory_is_that_of_a_process() -> None:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = accounts.memory(os.getpid())
    assert 2**20 < found.pss <= found.rss <= most * 1.05


def test_a_process_is_pinned() -> None:
    where = accounts.processors()
    script = "import os; print(os.sched_getaffinity(0))"
    printed = subprocess.check_output(
        [sys.executable, "-S", "-c", script], preexec_fn=accounts.pinned(where.server), text=True
    )
    assert printed == f"{{{where.server}}}\n"


# Servers --------------------------------------------------------------------------------------


@pytest.fixture
def processor() -> int:
    """The one that servers run on."""
    return accounts.processors().server


@pytest.mark.parametrize(
    "server",
    [
        OURS,
        THEIRS,
        plugport("select", "line", note="message"),
        plugport("asyncio", "stream", note="async"),
        peer("asyncio-streams", "asyncio streams"),
        peer("socketserver-threading-keepalive", "ThreadingTCPServer"),
        peer("plugport-bare", "plugport select, no service"),
    ],
    ids=lambda server: server.name,
)
def test_a_server_is_started_echoes_and_is_ended(server: Server, processor: int) -> None:
    with Running(server, "127.0.0.1", processor) as running:
        assert os.sched_getaffinity(running.pid) == {processor}
        with socket.create_connection(running.address, timeout=PATIENCE) as client:
            client.sendall(b"hello\n")
            assert client.recv(100) == b"hello\n"
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)


def test_a_server_that_does_not_start_is_an_error(processor: int) -> None:
    with pytest.raises(BenchmarkError, match=r"(?s)does not start:.*usage: peers.py"):
        Running(peer("nothing", "Nothing"), "127.0.0.1", processor)


def test_a_server_that_ends_early_is_an_error(processor: int) -> None:
    running = Running(THEIRS, "127.0.0.1", processor)
    os.kill(running.pid, signal.SIGKILL)
    os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(BenchmarkError, match="ended with status -9"):
        running.__exit__(None, None, None)


def saying(what: str) -> Server:
    """A server that writes a line more than that it listens, and does nothing."""
    line = f"listening on tcp://127.0.0.1:1\n{what}"
    script = f"import signal, sys; print({line!r}, file=sys.stderr); signal.pause()"
    return Server("saying", lambda host: [sys.executable, "-S", "-c", script])


def test_a_server_that_had_an_error_is_an_error(processor: int) -> None:
    running = Running(saying("Traceback"), "127.0.0.1", processor)
    wait_until(lambda: "Traceback" in running.output())
    with pytest.raises(BenchmarkError, match=r"(?s)had an error;.*Traceback"):
        running.__exit__(None, None, None)


def test_what_the_server_said_goes_with_an_error_of_the_load(processor: int) -> None:
    running = Running(saying("alas"), "127.0.0.1", processor)
    wait_until(lambda: "alas" in running.output())
    with pytest.raises(BenchmarkError, match=r"(?s)^no answer; the server said:.*alas"):
        running.__exit__(BenchmarkError, BenchmarkError("no answer"), None)


def test_only_the_plugins_that_are_meant_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = SitePackages(tmp_path)
    site.add("stranger")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", site.python_path)
    for server, expected in ((OURS, {"builtins"}), (counting(OURS), {"builtins", "counting"})):
        command = [sys.executable, "-m", "plugport", "list", "plugins", "--json"]
        listed = json.loads(subprocess.check_output(command, env=server.environ()))
        assert {plugin["name"] for plugin in listed if plugin["status"] == "active"} == expected


# What is missing ------------------------------------------------------------------------------


def test_a_compiler_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchmarkError, match=r"no C compiler: .*apt-get install gcc libc6-dev"):
        compiler.program.__wrapped__("echo")


def test_packages_that_are_missing_are_named() -> None:
    assert {"gevent", "uvloop", "Twisted", "trio"} <= set(required())
    with pytest.raises(BenchmarkError, match=r"^not installed: no-such-thing; pip install -r \S+\.txt$"):
        versions(["pytest", "no-such-thing"])


def test_surroundings_in_words(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# What is needed.\npytest==1.0\n")
    facts = surroundings(accounts.processors(), requirements)
    assert json.loads(json.dumps(facts)) == facts
    words = in_words(facts)
    assert f"Python {sys.version.split()[0]}" in words
    assert f"pytest {pytest.__version__}" in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["keepalife"], "no bar 'keepalife'; there are keepalive, blocking"),
        (["--rounds", "0"], "expected 1 or more, got 0"),
        (["--seconds", "-1"], "expected seconds, got -1"),
        (["--host", "localhost"], "invalid ipv4 value: 'localhost'"),
        (["--json", "/nowhere/at/all.json"], "the folder /nowhere/at does not exist"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_told(arguments: list[str], message: str) -> None:
    command = [sys.executable, str(Path(__file__).with_name("run.py")), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr.splitlines()[-1]
