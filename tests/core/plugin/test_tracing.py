from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import Run, SitePackages

from plugport.contracts.hooks import SERVER_HOOKS
from plugport.errors import UnknownNameError
from plugport.plugin.manager import load_plugins
from plugport.plugin.specs import HOOKS
from plugport.plugin.tracing import hooks_to_trace

LINE = re.compile(r"plugport: trace: (?P<pid>\d+) (?P<thread>[^:]+): (?P<text>.*)\n")
TOOK = re.compile(r" in \d+\.\d{3} ms$")

HOOK = "@plugport.hookimpl{options}\ndef plugport_{name}({arguments}):\n    {body}\n"


def hook(name: str, body: str, arguments: str = "", options: str = "") -> str:
    return HOOK.format(name=name, body=body, arguments=arguments, options=options)


def lines_of(written: str) -> list[re.Match[str]]:
    found = [LINE.fullmatch(line) for line in written.splitlines(keepends=True)]
    assert all(found), written
    return [line for line in found if line]


@pytest.fixture
def traced(site: SitePackages, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """traced(value, call) is what the trace tells of call(hooks), its durations replaced by ``_``."""

    def trace(value: str, call: Callable[[Any], object]) -> list[str]:
        monkeypatch.setenv("PLUGPORT_TRACE", value)
        hooks = load_plugins().server_hooks()
        capfd.readouterr()
        call(hooks)
        lines = lines_of(capfd.readouterr().err)
        assert {(line["pid"], line["thread"]) for line in lines} <= {(str(os.getpid()), "MainThread")}
        return [TOOK.sub(" in _", line["text"]) for line in lines]

    return trace


# What is told ---------------------------------------------------------------------------------


def test_a_call_its_arguments_each_answer_and_the_result(site: SitePackages, traced: Any) -> None:
    site.add("first", hook("verify_request", "return True", "client_address"), entry_point="a")
    site.add("second", hook("verify_request", "return None"), entry_point="b")
    assert traced(
        "1", lambda hooks: hooks.verify_request(server=1, request="two", client_address=(3, 4))
    ) == [
        "verify_request(server=1, request='two', client_address=(3, 4))",
        "  verify_request of second:b -> None in _",
        "  verify_request of first:a -> True in _",
        "verify_request -> [True] in _",
    ]


def test_what_a_call_calls_is_indented(site: SitePackages, traced: Any) -> None:
    module = site.add("outer", "hooks = None\n" + hook("server_bound", "hooks.server_started(server=2)"))
    site.add("inner", hook("server_started", "pass"))

    def call(hooks: Any) -> None:
        sys.modules[module].hooks = hooks
        hooks.server_bound(server=1)

    assert traced("1", call) == [
        "server_bound(server=1)",
        "  server_started(server=2)",
        "    server_started of inner:inner_plugin -> None in _",
        "  server_started -> [] in _",
        "  server_bound of outer:outer_plugin -> None in _",
        "server_bound -> [] in _",
    ]


def test_an_implementation_that_raises(site: SitePackages, traced: Any, caplog: Any) -> None:
    site.add("bad", hook("request_started", "raise ValueError('no\\nway')"))
    assert traced("1", lambda hooks: hooks.request_started(context=1)) == [
        "request_started(context=1)",
        "  request_started of bad:bad_plugin raised ValueError('no\\nway') in _",
        "request_started -> [] in _",
    ]
    assert "request_started of plugin bad:bad_plugin raised" in caplog.text


@pytest.mark.parametrize("marker", ["wrapper=True", "hookwrapper=True"])
def test_wrappers(site: SitePackages, traced: Any, marker: str) -> None:
    site.add("inner", hook("verify_request", "return True"))
    site.add("outer", hook("verify_request", "return (yield)", options=f"({marker})"))
    lines = traced("1", lambda hooks: hooks.verify_request(server=1, request=2, client_address=3))
    assert [line.partition(" -> ")[0] for line in lines[1:]] == [
        "  verify_request of inner:inner_plugin",
        "  verify_request of outer:outer_plugin",
        "verify_request",
    ]
    assert lines[-1] == "verify_request -> [True] in _"


def test_a_wrapper_that_raises(site: SitePackages, traced: Any, caplog: Any) -> None:
    site.add("outer", hook("request_started", "yield; raise OSError('no')", options="(wrapper=True)"))
    lines = traced("1", lambda hooks: hooks.request_started(context=1))
    assert lines[1] == "  request_started of outer:outer_plugin raised OSError('no') in _"
    assert "raised" in caplog.text


def test_a_hook_that_nobody_implements_is_told_too(traced: Any) -> None:
    called = {name: dict.fromkeys(("server",)) for name in ("server_bound", "server_stopped")}

    def call(hooks: Any) -> None:
        for name, arguments in called.items():
            getattr(hooks, name)(**arguments)

    assert traced("1", call) == [f"{name}(server=None): nobody implements it" for name in called]


def test_every_slot_is_filled_while_all_are_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUGPORT_TRACE", "1")
    hooks = load_plugins().server_hooks()
    assert all(getattr(hooks, name) is not None for name in SERVER_HOOKS)
    assert hooks.verify_request is not None
    assert hooks.verify_request(server=1, request=2, client_address=3) is True


@pytest.mark.parametrize(
    "value", ["request_started,server_bound", " plugport_request_started , server_bound "]
)
def test_a_list_of_hooks_limits_it(site: SitePackages, traced: Any, value: str) -> None:
    site.add("all", "".join(hook(name, "pass") for name in SERVER_HOOKS))

    def call(hooks: Any) -> None:
        hooks.server_started(server=1)
        hooks.server_bound(server=1)
        hooks.request_started(context=1)
        hooks.request_finished(context=1)

    lines = traced(value, call)
    assert {line.split()[0].partition("(")[0] for line in lines} == {"request_started", "server_bound"}
    assert len(lines) == 6


def test_only_what_is_traced_or_implemented_has_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUGPORT_TRACE", "server_bound")
    hooks = load_plugins().server_hooks()
    assert [name for name in SERVER_HOOKS if getattr(hooks, name) is not None] == ["server_bound"]


def test_arguments_are_told_in_short(traced: Any) -> None:
    class Server:
        def listening_url(self) -> str:
            return "tcp://127.0.0.1:9000"

    class Mute:
        def __repr__(self) -> str:
            raise OSError

    class Wordy:
        def __repr__(self) -> str:
            return "two\nlines " + "x" * 10_000

    (line,) = traced(
        "1", lambda hooks: hooks.verify_request(server=Server(), request=Wordy(), client_address=1)
    )
    assert line.startswith("verify_request(server=tcp://127.0.0.1:9000, request=two lines xxx")
    assert len(line) < 250
    (line,) = traced("1", lambda hooks: hooks.server_bound(server=Mute()))
    assert "Mute" in line
    (line,) = traced("1", lambda hooks: hooks.server_bound(server=[b"\xff" * 1000, "\N{SNOWMAN}"]))
    assert "\\xff" in line


# Commands -------------------------------------------------------------------------------------


REGISTERS = (
    hook("register_handlers", "yield plugport.Component('mine', 'a:b')")
    + hook("register_servers", "return [plugport.Component('bell', 'a:b')]")
    + hook("register_commands", "import click; return [click.Command('greet')]")
)


def test_registrations_are_told(run: Run, site: SitePackages) -> None:
    site.add("my-dist", REGISTERS, entry_point="mine")
    result = run("list", PLUGPORT_TRACE="1")
    assert result.returncode == 0
    assert result.stdout == run("list").stdout
    told = [TOOK.sub("", line["text"]) for line in lines_of(result.stderr)]
    *components, commands = [line for line in told if "my-dist" in line]
    assert components == [
        "register_servers of my-dist:mine() -> [bell]",
        "register_handlers of my-dist:mine() -> [mine]",
    ]
    assert commands == "register_commands of my-dist:mine() -> [<Command greet>]"
    assert told[0] == "register_servers of plugport:builtins() -> [tcp, tls, udp, unix, unixgram, fd, ...]"


def test_a_registration_that_breaks_off_loses_what_it_would_without(run: Run, site: SitePackages) -> None:
    source = "yield plugport.Component('early', 'a:b')\n    raise OSError('late')"
    site.add("broken", hook("register_handlers", source))
    result = run("serve", "early", PLUGPORT_TRACE="register_handlers")
    assert result.returncode == 2
    *told, error = result.stderr.splitlines(keepends=True)
    assert [TOOK.sub("", line["text"]) for line in lines_of("".join(told))][-1] == (
        "register_handlers of broken:broken_plugin() raised OSError('late')"
    )
    assert error == run("serve", "early").stderr
    assert "plugin 'broken_plugin' of broken failed: OSError: late" in error


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("maybe", "PLUGPORT_TRACE=maybe: no hook named 'maybe' (1, 0 or names of hooks"),
        ("2", "no hook named '2'"),
        ("request_started,sever_bound", "no hook named 'sever_bound'; did you mean 'server_bound'"),
        ("1,request_started", "no hook named '1'"),
        ("request_started,", "no hook named ''"),
        ("requëst", "no hook named 'requëst'"),
    ],
)
def test_a_bad_value_is_one_line_and_exit_2(run: Run, value: str, message: str) -> None:
    for arguments in (["list"], ["serve", "echo", "tcp://127.0.0.1:0"]):
        result = run(*arguments, PLUGPORT_TRACE=value)
        assert (result.returncode, result.stdout) == (2, "")
        assert message in result.stderr
        assert result.stderr.startswith("plugport: ")
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("value", ["", "0", " 0 "])
def test_without_it_nothing_is_told_or_called(
    site: SitePackages, monkeypatch: pytest.MonkeyPatch, run: Run, value: str
) -> None:
    monkeypatch.setenv("PLUGPORT_TRACE", value)
    plugins = load_plugins()
    assert plugins.trace is None
    assert plugins.server_hooks().request_started is None
    assert run("list", PLUGPORT_TRACE=value).stderr == ""


def test_without_it_its_code_is_not_imported(site: SitePackages) -> None:
    code = (
        "import sys, plugport.cli as c; c.main(['list']); sys.exit('plugport.plugin.tracing' in sys.modules)"
    )
    env = {name: value for name, value in os.environ.items() if name != "PLUGPORT_TRACE"}
    assert subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL).returncode == 0


def test_the_value_is_read() -> None:
    assert hooks_to_trace("1") == frozenset(HOOKS)
    assert hooks_to_trace("") == hooks_to_trace("0") == frozenset()
    with pytest.raises(UnknownNameError):
        hooks_to_trace("yes")


# Where it is written --------------------------------------------------------------------------


MANY = """
import os, threading
from plugport.plugin.manager import load_plugins

THREADS, CALLS, CHILDREN = 6, 200, 3

def work():
    for number in range(CALLS):
        hooks.request_started(context="x" * 50)

hooks = load_plugins().server_hooks()
children = []
for _ in range(CHILDREN):
    pid = os.fork()
    if pid == 0:
        children = None
        break
    children.append(pid)
threads = [threading.Thread(target=work, name=f"worker-{n}") for n in range(THREADS)]
for thread in threads: thread.start()
for thread in threads: thread.join()
if children is None:
    os._exit(0)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * CHILDREN
"""


@pytest.mark.parametrize("to_a_file", [True, False])
def test_lines_of_threads_and_children_do_not_mix(
    site: SitePackages, tmp_path: Path, to_a_file: bool
) -> None:
    site.add("my-dist", hook("request_started", "pass"))
    env = {**os.environ, "PYTHONPATH": site.python_path, "PLUGPORT_TRACE": "request_started"}
    command = [sys.executable, "-c", MANY]
    if to_a_file:
        with (tmp_path / "trace").open("w+") as file:
            assert subprocess.run(command, env=env, stderr=file, timeout=60).returncode == 0
        written = (tmp_path / "trace").read_text()
    else:
        result = subprocess.run(command, env=env, stderr=subprocess.PIPE, text=True, timeout=60)
        assert result.returncode == 0
        written = result.stderr
    told: dict[tuple[str, str], list[str]] = {}
    for line in lines_of(written):
        told.setdefault((line["pid"], line["thread"]), []).append(TOOK.sub("", line["text"]))
    assert len(told) == (3 + 1) * 6
    one_call = [
        f"request_started(context='{'x' * 50}')",
        "  request_started of my-dist:my_dist_plugin -> None",
        "request_started -> []",
    ]
    assert all(lines == one_call * 200 for lines in told.values())


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_an_output_that_nobody_reads_harms_nothing(site: SitePackages, redirection: str) -> None:
    command = f"exec {sys.executable} -m plugport list {redirection}"
    env = {**os.environ, "PLUGPORT_TRACE": "1"}
    result = subprocess.run(
        ["/bin/sh", "-c", command], env=env, stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert result.returncode == 0
    assert "echo" in result.stdout
