from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from fakes import Run, SitePackages

import plugport
from plugport.cli import LazyCommand
from plugport.cli.commands import FIRST_COMMANDS, LAST_COMMANDS
from plugport_tools.plugin import plugport_register_commands

CORE = str(Path(plugport.__file__).parent.parent)

OWN_COMMANDS = {"list", "show", "check", "matrix", "serve", "bench", "doctor", "new", "completion"}

HANDLERS = """
import plugport
from plugport import Help
from typing import Annotated

class Upper(plugport.StreamRequestHandler):
    "Send lines back in capitals."
    prefix: Annotated[str, Help("put before each line")] = ""
    def handle(self):
        for line in self.rfile:
            self.wfile.write(self.prefix.encode() + line.upper())

class Tally(plugport.BaseRequestHandler):
    shared_state = True
"""

PLUGIN = """
@plugport.hookimpl
def plugport_register_handlers():
    yield plugport.Component("upper", "my_handlers:Upper", "Send lines back in capitals")
    yield plugport.Component("echo", "my_handlers:Upper", "Not the echo")
"""


@pytest.fixture
def my_dist(site: SitePackages) -> SitePackages:
    site.add("my-dist", PLUGIN, version="2.0", entry_point="mine", files={"my_handlers.py": HANDLERS})
    return site


def only(text: str) -> str:
    """The one line that an error is."""
    assert text.startswith("plugport: "), text
    assert text.count("\n") == 1, text
    return text.removeprefix("plugport: ").rstrip()


# list, show -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("my_dist")
def test_list_json(run: Run) -> None:
    result = run("list", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    found = {(each["kind"], each["qualified_name"]): each for each in json.loads(result.stdout)}
    assert found["handler", "my-dist:upper"] == {
        "kind": "handler",
        "name": "upper",
        "qualified_name": "my-dist:upper",
        "summary": "Send lines back in capitals",
        "distribution": "my-dist",
        "version": "2.0",
        "origin": "third-party",
        "status": "available",
        "reason": None,
    }
    assert found["handler", "my-dist:echo"]["status"] == "shadowed"
    assert found["server", "plugport:tcp"]["origin"] == "built-in"
    assert {kind for kind, _ in found} == {"server", "concurrency", "handler", "framing"}


@pytest.mark.parametrize(
    ("what", "kind"),
    [("servers", "server"), ("concurrency",) * 2, ("handlers", "handler"), ("framings", "framing")],
)
def test_list_of_one_kind(run: Run, what: str, kind: str) -> None:
    assert {each["kind"] for each in json.loads(run("list", what, "--json").stdout)} == {kind}


@pytest.mark.usefixtures("my_dist")
def test_list_plugins_json(run: Run, site: SitePackages) -> None:
    site.add("broken", "raise OSError('out of order')")
    result = run("--disable-plugin", "mine", "list", "plugins", "--json")
    assert result.returncode == 0
    found = {each["distribution"]: each for each in json.loads(result.stdout)}
    assert found["my-dist"] == {
        "name": "mine",
        "distribution": "my-dist",
        "version": "2.0",
        "status": "disabled",
        "error": None,
        "hooks": [],
    }
    assert found["broken"]["status"] == "failed"
    assert found["broken"]["error"] == "OSError: out of order (broken_plugin.py, line 2)"
    own = {each["name"]: each for each in json.loads(result.stdout) if each["distribution"] == "plugport"}
    assert [each["status"] for each in own.values()] == ["active"] * len(own)
    assert "register_servers" in own["builtins"]["hooks"]
    assert own["tools"]["hooks"] == ["doctor", "register_commands"]


@pytest.mark.usefixtures("my_dist")
def test_list_for_people(run: Run, site: SitePackages) -> None:
    site.add("broken", "raise OSError('out of order')")
    result = run("list")
    assert result.returncode == 0
    assert "Send lines back in capitals" in result.stdout
    assert "shadowed: the name is a built-in's; use my-dist:echo" in result.stdout
    assert result.stderr == (
        "plugport: warning: plugin 'broken_plugin' of broken failed: OSError: out of order "
        "(broken_plugin.py, line 2) (plugport list plugins)\n"
    )
    assert "failed: OSError: out of order" in run("list", "plugins").stdout


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["list", "plugins"]])
def test_list_imports_neither_a_target_nor_what_it_does_not_print_with(
    site: SitePackages, my_dist: SitePackages, arguments: list[str]
) -> None:
    code = f"""
import sys
from plugport.cli import main
assert main({arguments!r}) == 0
heavy = {{'rich.table', 'msgspec', 'asyncio', 'socket', 'logging', 'my_handlers'}}
sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)
"""
    env = {**os.environ, "PYTHONPATH": str(site.path)}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert result.stderr == ""


@pytest.mark.usefixtures("my_dist")
def test_show(run: Run) -> None:
    (shown,) = json.loads(run("show", "upper", "--json").stdout)
    assert shown["qualified_name"] == "my-dist:upper"
    assert shown["style"] == "blocking"
    assert shown["transports"] == ["stream"]
    assert {"name": "prefix", "type": "str", "default": "", "help": "put before each line"} in shown[
        "options"
    ]
    text = run("show", "upper").stdout
    assert "my-dist" in text
    assert "put before each line" in text


@pytest.mark.usefixtures("my_dist")
def test_show_every_component_of_the_name(run: Run) -> None:
    assert [each["qualified_name"] for each in json.loads(run("show", "echo", "--json").stdout)] == [
        "plugport:echo",
        "my-dist:echo",
    ]
    (shown,) = json.loads(run("show", "my_handlers:Upper", "--json").stdout)
    assert (shown["kind"], shown["distribution"]) == ("handler", None)
    (shown,) = json.loads(run("show", "unix", "--json").stdout)
    assert "socket_mode" in [option["name"] for option in shown["options"]]


# check, matrix --------------------------------------------------------------------------------


@pytest.mark.usefixtures("my_dist")
def test_check(run: Run) -> None:
    legal = run("check", "upper", "tcp", "threading")
    assert (legal.returncode, legal.stdout, legal.stderr) == (0, "legal\n", "")
    warned = run("check", "upper", "tcp", "sync")
    assert warned.returncode == 0
    assert warned.stdout.startswith("legal\nwarning: one slow client makes the service deaf to all others; ")
    refused = run("check", "upper", "udp", "threading")
    assert (refused.returncode, refused.stderr) == (1, "")
    assert refused.stdout == "refused: a stream handler can't serve a datagram server; use a stream server\n"


@pytest.mark.usefixtures("my_dist")
def test_matrix(run: Run) -> None:
    result = run("matrix", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    rows = json.loads(result.stdout)
    assert set(rows[0]) == {"handler", "server", "concurrency", "verdict", "bridge", "reason"}
    found = {(row["handler"], row["server"], row["concurrency"]): row for row in rows}
    assert found["upper", "tcp", "threading"]["verdict"] == "legal"
    assert found["upper", "tcp", "threading"]["reason"] is None
    assert found["upper", "udp", "threading"]["verdict"] == "refused"
    assert ("my-dist:echo", "tcp", "sync") in found
    assert "upper" in run("matrix").stdout


@pytest.mark.usefixtures("my_dist")
def test_the_matrix_is_a_grid(run: Run) -> None:
    rows = json.loads(run("matrix", "--json").stdout)
    strategies = list(dict.fromkeys(row["concurrency"] for row in rows))
    result = run("matrix", COLUMNS="400")
    assert (result.returncode, result.stderr) == (0, "")
    grid, _, legend = result.stdout.partition("\n\n")
    header, *lines = [line.split() for line in grid.splitlines()]
    assert header == ["handler", "server", *strategies]
    drawn = {
        (handler, server, strategy): mark
        for handler, server, *marks in lines
        for strategy, mark in zip(strategies, marks, strict=True)
    }
    assert drawn == {
        (row["handler"], row["server"], row["concurrency"]): "-"
        if row["verdict"] == "refused"
        else "!"
        if row["reason"]
        else "~"
        if row["bridge"]
        else "+"
        for row in rows
    }
    assert set(drawn.values()) == {"+", "~", "!", "-"}
    assert legend.startswith("+ legal, ~ legal by a bridge, ! legal with a warning, - refused\n")
    legal = sum(row["verdict"] == "legal" for row in rows)
    assert f"{legal} of {len(rows)} combinations are legal; reasons: plugport matrix --long\n" in legend


@pytest.mark.parametrize("columns", [80, 70])
def test_a_grid_that_is_too_wide_has_numbers_for_strategies(
    run: Run, columns: int, site: SitePackages
) -> None:
    names = [f"strategy-{number}" for number in range(12)]
    source = "".join(f"    yield plugport.Component({name!r}, 'mixins:MixIn')\n" for name in names)
    files = {"mixins.py": "class MixIn: styles = frozenset({'blocking'})\n"}
    site.add("mine", "@plugport.hookimpl\ndef plugport_register_concurrency():\n" + source, files=files)
    text = run("matrix", COLUMNS=str(columns)).stdout
    assert max(map(len, text.splitlines())) <= columns
    header = text.partition("\n")[0].split()
    assert header == ["handler", "server", *map(str, range(1, len(header) - 1))]
    for number, name in re.findall(r"(\d+) (strategy-\d+)", text):
        assert header[int(number) + 1] == number
        names.remove(name)
    assert not names


def test_the_long_matrix_has_reasons(run: Run) -> None:
    rows = json.loads(run("matrix", "--json").stdout)
    header, *lines = run("matrix", "--long").stdout.splitlines()
    assert header.split() == ["handler", "server", "concurrency", "verdict", "bridge", "reason"]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        cells = (row["handler"], row["server"], row["concurrency"], row["verdict"], row["bridge"] or "")
        assert line.split()[: len("".join(cells).split())]
        assert line.endswith(row["reason"] or row["bridge"] or "legal")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("prefix=>", None),
        ("prefx=>", "no option 'prefx'; did you mean 'prefix'?"),
        ("max_threads=0", "no option 'max_threads'"),
        ("request_queue_size=many", "expected int >= 0, got 'many'"),
        ("nobody.x=1", "no plugin 'nobody' has options"),
    ],
)
@pytest.mark.usefixtures("my_dist")
def test_check_looks_at_options_too(run: Run, option: str, message: str | None) -> None:
    result = run("check", "upper", "tcp", "threading", "-o", option)
    if message is None:
        assert (result.returncode, result.stdout, result.stderr) == (0, "legal\n", "")
    else:
        assert (result.returncode, result.stdout) == (2, "")
        assert message in only(result.stderr)


# Framings -------------------------------------------------------------------------------------

FRAMINGS = """
@plugport.hookimpl
def plugport_register_framings():
    yield plugport.Component("slashes", "my_framings:SlashFraming", "Messages that end with a slash")
    yield plugport.Component("lines", "my_framings:SlashFraming", "Not the lines")
    yield plugport.Component("nothing", "my_framings:Nothing")
    yield plugport.Component("demanding", "my_framings:Demanding")

@plugport.hookimpl
def plugport_register_handlers():
    yield plugport.Component("shout", "my_framings:Shout", "Messages in capitals")
    yield plugport.Component("slashed", "my_framings:Slashed", "The same, between slashes")
"""
SLASHES = """
from typing import Annotated
import plugport
from plugport import Help
from plugport.handlers import DelimiterFraming

class SlashFraming(DelimiterFraming):
    "Messages that end with one slash or more."
    slashes: Annotated[int, Help("slashes that end a message", gt=0)] = 1
    def __init__(self, max_message_size, slashes=1):
        super().__init__(max_message_size, b"/" * slashes)

class Nothing: pass

class Demanding(SlashFraming):
    def __init__(self, max_message_size, *, secret): pass

class Shout(plugport.MessageHandler):
    def respond(self, message): return message.upper()

class Slashed(Shout):
    framing = "slashes"
    slashes = 2
"""


@pytest.fixture
def slashes(site: SitePackages) -> SitePackages:
    site.add("my-dist", FRAMINGS, entry_point="mine", files={"my_framings.py": SLASHES})
    return site


def test_framings_are_listed(run: Run, slashes: SitePackages) -> None:
    found = {each["qualified_name"]: each for each in json.loads(run("list", "framings", "--json").stdout)}
    assert list(found)[:5] == [
        f"plugport:{name}" for name in ("lines", "length-prefixed", "netstring", "delimiter", "fixed")
    ]
    assert found["my-dist:slashes"]["status"] == "available"
    assert found["my-dist:lines"]["status"] == "shadowed"
    assert "\nframings\n" in run("list").stdout


def test_a_framing_is_shown(run: Run, slashes: SitePackages) -> None:
    (shown,) = json.loads(run("show", "slashes", "--json").stdout)
    assert (shown["kind"], shown["target"]) == ("framing", "my_framings:SlashFraming")
    assert [option["name"] for option in shown["options"]] == ["max_message_size", "delimiter", "slashes"]
    assert [each["qualified_name"] for each in json.loads(run("show", "lines", "--json").stdout)] == [
        "plugport:lines",
        "my-dist:lines",
    ]
    (shown,) = json.loads(run("show", "my_framings:SlashFraming", "--json").stdout)
    assert (shown["kind"], shown["distribution"]) == ("framing", None)
    assert "no framing named 'echo'; there is a handler of that name" in only(
        run("show", "echo", "--kind", "framing").stderr
    )


@pytest.mark.parametrize(
    ("handler", "options", "question", "answer"),
    [
        ("shout", [], b"one\ntwo", b"ONE\nTWO\n"),
        ("shout", ["framing=slashes"], b"one/two", b"ONE/TWO/"),
        ("shout", ["handler.framing=my-dist:lines"], b"one/two", b"ONE/TWO/"),
        ("shout", ["framing=my_framings:SlashFraming"], b"one/two", b"ONE/TWO/"),
        ("shout", ["slashes=2", "framing=slashes"], b"one/1//two", b"ONE/1//TWO//"),
        ("slashed", [], b"one/1//two", b"ONE/1//TWO//"),
        ("slashed", ["handler.slashes=1"], b"one/two", b"ONE/TWO/"),
        ("slashed", ["framing=netstring"], b"3:one,", b"3:ONE,"),
        ("shout", ["framing=delimiter", "delimiter=;"], b"one;two", b"ONE;TWO;"),
        ("shout", ["framing=length-prefixed", "prefix_size=1"], b"\3one", b"\3ONE"),
    ],
)
def test_a_framing_is_selected(
    slashes: SitePackages, handler: str, options: list[str], question: bytes, answer: bytes
) -> None:
    arguments = [handler, "tcp://127.0.0.1:0", *(f"-o{option}" for option in options)]
    with serving(slashes, 1, *arguments) as (_, (url,)):
        assert ask(("127.0.0.1", int(url.rpartition(":")[2])), question) == answer


@pytest.mark.parametrize("command", [["serve", "shout"], ["check", "shout", "tcp", "select"]])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["framing=slahes"],
            "option handler.framing: no framing named 'slahes'; did you mean 'slashes'? "
            "(plugport list framings)",
        ),
        (["framing=echo"], "no framing named 'echo'; there is a handler of that name"),
        (["framing=nothing"], "is no framing: it has no method feed()"),
        (["framing=demanding"], "its parameter 'secret' is neither an option of message handlers nor"),
        (["slashes=2"], "no option 'slashes'"),
        (["framing=slashes", "slashes=0"], "expected int > 0, got '0'"),
        (["framing"], "option 'framing' is not KEY=VALUE"),
    ],
)
def test_a_framing_that_can_not_be_selected(
    run: Run, slashes: SitePackages, command: list[str], options: list[str], message: str
) -> None:
    result = run(*command, *(f"-o{option}" for option in options))
    assert (result.returncode, result.stdout) == (2, "")
    assert message in only(result.stderr)


def test_a_handler_without_messages_has_no_framing(run: Run, slashes: SitePackages) -> None:
    assert "no option 'framing'" in only(run("serve", "echo", "-o", "framing=slashes").stderr)


def test_a_framing_is_no_part_of_the_matrix(run: Run, slashes: SitePackages) -> None:
    rows = json.loads(run("matrix", "--json").stdout)
    assert "slashes" not in {name for row in rows for name in row.values()}


# Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing command"),
        (["lst"], "no command named 'lst'; did you mean 'list'? (plugport --help)"),
        (["list", "--bogus"], "No such option"),
        (["list", "things"], "'things' is not one of"),
        (["show"], "Missing argument 'NAME'"),
        (["show", "ehco"], "no component, plugin or hook named 'ehco'; did you mean 'echo'? (plugport list"),
        (
            ["check", "ehco", "tcp", "sync"],
            "no handler named 'ehco'; did you mean 'echo'? (plugport list handlers)",
        ),
        (["check", "echo", "tpc", "sync"], "no server named 'tpc'"),
        (
            ["check", "echo", "tcp://127.0.0.1:9000", "sync"],
            "is a URL, where the name of a server belongs; its server is 'tcp'",
        ),
        (["show", "tcp://127.0.0.1:9000"], "where the name of a component belongs"),
        (["--disable-plugin", "nope", "list"], "no plugin named 'nope' to disable"),
        (["serve", "nope"], "no handler named 'nope'"),
        (["serve", "no_such_file.py:X"], "no file"),
        (["serve", "no_such_module:X"], "no module named 'no_such_module'"),
        (["serve", "my_handlers:Uper"], "did you mean 'Upper'"),
        (["serve", "upper", "127.0.0.1:9000"], "is not a URL"),
        (["serve", "upper", "tcp://127.0.0.1"], "has no port"),
        (["serve", "upper", "gopher://127.0.0.1:0"], "no server named 'gopher'"),
        (
            ["serve", "upper", "udp://127.0.0.1:0"],
            "upper can't be served by udp under threading: a stream handler",
        ),
        (["serve", "upper", "tcp://127.0.0.1:0", "udp://127.0.0.1:0"], "a stream handler can't serve"),
        (["serve", "my_handlers:Tally", "-c", "forking"], "keeps state in memory"),
        (["serve", "upper", "-c", "thraeding"], "did you mean 'threading'"),
        (["serve", "upper", "-o", "prefx=a"], "no option 'prefx'; did you mean 'prefix'"),
        (["serve", "upper", "-o", "timeout=5"], "ambiguous; write server.timeout or handler.timeout"),
        (["serve", "upper", "-o", "request_queue_size=many"], "expected int >= 0, got 'many'"),
        (["serve", "upper", "-o", "nonsense"], "is not KEY=VALUE"),
        (["serve", "upper", "--grace", "-1"], "-1"),
        (
            ["serve", "upper", "unix:///no/such/folder/at/all.sock"],
            "can't listen on unix:///no/such/folder/at/all.sock",
        ),
    ],
)
@pytest.mark.usefixtures("my_dist")
def test_an_error_is_one_line_and_exit_2(run: Run, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert message in only(result.stderr)


@pytest.mark.usefixtures("my_dist")
def test_debug_shows_the_traceback(run: Run) -> None:
    result = run("--debug", "show", "ehco")
    assert result.returncode == 2
    assert result.stderr.startswith("Traceback")
    assert "\nplugport: no component, plugin or hook named 'ehco'" in result.stderr


def test_strict_plugins(run: Run, site: SitePackages) -> None:
    site.add("broken", "raise OSError('out of order')")
    assert run("list").returncode == 0
    result = run("--strict-plugins", "list")
    assert result.returncode == 2
    assert "plugin 'broken_plugin' of broken failed: OSError: out of order" in only(result.stderr)


def test_disabled_by_environment(run: Run, my_dist: SitePackages) -> None:
    result = run("serve", "upper", PLUGPORT_DISABLE="my-dist")
    assert result.returncode == 2
    assert "plugin 'mine' of my-dist is disabled" in only(result.stderr)


def test_a_reader_that_goes_away_is_no_error(site: SitePackages) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([sys.executable, "-m", "plugport", "list"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert result.stderr == b""
    assert result.returncode == 141


def test_an_output_that_is_full_is_an_error(site: SitePackages) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "plugport", "list"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert result.returncode == 2
    assert "No space left" in only(result.stderr)


# The rest of the group ------------------------------------------------------------------------


def test_an_interrupt_is_quiet_before_anything_is_imported(site: SitePackages, run: Run) -> None:
    interrupt = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)\n"
    (site.path / "click.py").write_text(interrupt)
    code = "import sys; import plugport.cli; print({'typing', 'click'} & set(sys.modules))"
    light = subprocess.run([sys.executable, "-S", "-c", code], env={"PYTHONPATH": CORE}, capture_output=True)
    assert light.stdout == b"set()\n", light.stderr
    result = run("serve", "echo")
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_version_and_help(run: Run) -> None:
    assert run("--version").stdout.startswith("plugport ")
    text = run("--help").stdout
    for command in ("list", "show", "check", "matrix", "serve", "completion"):
        assert f"\n  {command} " in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(run: Run, shell: str) -> None:
    result = run("completion", shell)
    assert result.returncode == 0
    assert "_PLUGPORT_COMPLETE" in result.stdout


@pytest.mark.usefixtures("my_dist")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plugport serve up", "plain,upper"),
        ("plugport check upper u", "plain,udp\nplain,unix\nplain,unixgram"),
        ("plugport serve upper -c threadi", "plain,threading"),
        ("plugport show my-d", "plain,my-dist:echo"),
        ("plugport --disable-plugin mi", "plain,mine"),
        ("plugport comp", "plain,completion"),
        ("plugport show nets", "plain,netstring"),
        ("plugport list fr", "plain,framings"),
    ],
)
def test_completion_of_names(run: Run, line: str, expected: str) -> None:
    words = line.split()
    result = run(_PLUGPORT_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    assert result.stderr == ""
    assert result.stdout.strip() == expected


def test_a_plugin_adds_commands(run: Run, site: SitePackages) -> None:
    source = """
    @plugport.hookimpl
    def plugport_register_commands():
        import click
        @click.command({name!r})
        def command():
            "Say hello."
            click.echo("hello")
        yield command
    """
    site.add("one", source.format(name="hello"))
    site.add("two", source.format(name="list"))
    assert run("hello").stdout == "hello\n"
    assert "Say hello." in run("--help").stdout
    listed = json.loads(run("list", "plugins", "--json").stdout)
    two = next(each for each in listed if each["distribution"] == "two")
    reason = "adds the command 'list', a name that is taken: it is plugport's own"
    assert (two["status"], two["error"]) == ("failed", reason)
    assert "adds the command 'list'" in only(run("helo").stderr)


LAZY = """
    @plugport.hookimpl
    def plugport_register_commands():
        from plugport.cli import LazyCommand
        yield LazyCommand("hello", {target!r}, "Say hello in {target}")
"""
HELLO = """
import click
from plugport.cli import Session

@click.command()
@click.argument("names", type=click.Choice(["world", "wide"]), nargs=-1)
@click.pass_obj
def hello(session: Session, names: tuple[str, ...]) -> None:
    "Say hello to NAMES."
    click.echo(f"hello {' '.join(names)}, {session.registry.find('handler', 'echo').name}")

@click.group()
def greetings() -> None: "Several."

@greetings.command()
def wave() -> None: click.echo("waves")
"""


def test_a_lazy_command_is_imported_when_it_is_called(run: Run, site: SitePackages) -> None:
    site.add("mine", LAZY.format(target="my_hello:hello"), files={"my_hello.py": HELLO})
    assert run("hello", "world").stdout == "hello world, echo\n"
    assert run("hello", "--help").stdout.startswith("Usage: plugport hello [OPTIONS] [")
    assert "'moon' is not one of" in only(run("hello", "moon").stderr)
    completed = run(_PLUGPORT_COMPLETE="bash_complete", COMP_WORDS="plugport hello wi", COMP_CWORD="2")
    assert completed.stdout == "plain,wide\n"


def test_a_lazy_command_may_be_a_group(run: Run, site: SitePackages) -> None:
    site.add("mine", LAZY.format(target="my_hello:greetings"), files={"my_hello.py": HELLO})
    assert run("hello", "wave").stdout == "waves\n"
    completed = run(_PLUGPORT_COMPLETE="bash_complete", COMP_WORDS="plugport hello wa", COMP_CWORD="2")
    assert completed.stdout == "plain,wave\n"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module:x", "no_such_module:x can't be imported: ModuleNotFoundError: No module named"),
        ("my_hello:nothing", "my_hello:nothing can't be imported: AttributeError: "),
        ("my_hello:HELLO", "my_hello:HELLO is 'text', which is no click.Command"),
    ],
)
def test_a_lazy_command_that_can_not_be_imported(
    run: Run, site: SitePackages, target: str, reason: str
) -> None:
    site.add("mine", LAZY.format(target=target), files={"my_hello.py": "HELLO = 'text'"})
    assert f"Say hello in {target}" in run("--help").stdout
    result = run("hello")
    assert (result.returncode, result.stdout) == (2, "")
    assert only(result.stderr).startswith(f"command 'hello' can't be run: {reason}")


def test_a_lazy_command_without_an_attribute_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'my_hello' of command 'hello' is not 'package\.module:attribute'"):
        LazyCommand("hello", "my_hello", "Say hello")


def test_help_lists_all_commands_in_order_and_imports_none(run: Run, site: SitePackages) -> None:
    site.add("mine", LAZY.format(target="my_hello:hello"), files={"my_hello.py": HELLO})
    code = (
        "import sys; from plugport.cli import main; main(['--help']); "
        "print(*sorted(each for each in sys.modules if each.startswith(('plugport', 'my_hello'))))"
    )
    env = {**os.environ, "PYTHONPATH": str(site.path)}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    text, _, modules = result.stdout.rstrip().rpartition("\n")
    names = re.findall(r"^  ([a-z]+) ", text.partition("Commands:\n")[2], re.MULTILINE)
    assert [each for each in names if each in OWN_COMMANDS or each == "hello"] == [
        *("list", "show", "check", "matrix", "serve"),
        *("bench", "doctor", "new", "hello", "completion"),
    ]
    assert "Say hello in my_hello:hello" in text
    imported = set(modules.split())
    targets = {command.target.partition(":")[0] for command in (*FIRST_COMMANDS, *LAST_COMMANDS)}
    assert not imported & (targets | {"my_hello"})
    assert not [each for each in imported if each.startswith("plugport_tools.")] or (
        {each for each in imported if each.startswith("plugport_tools.")} == {"plugport_tools.plugin"}
    )


@pytest.mark.parametrize(
    "command", [*FIRST_COMMANDS, *LAST_COMMANDS, *plugport_register_commands()], ids=lambda each: each.name
)
def test_a_command_has_the_name_that_it_is_listed_under(command: LazyCommand) -> None:
    assert command.load().name == command.name
    assert command.get_short_help_str() == command.help
    assert command.help
    assert not command.help.endswith(".")
    assert len(command.help) < 66  # one line of 80 columns


def test_without_the_tools_their_commands_are_gone(run: Run) -> None:
    text = run("--disable-plugin", "tools", "--help").stdout
    assert "\n  serve " in text
    for command in ("bench", "doctor", "new"):
        assert f"\n  {command} " not in text
        result = run("--disable-plugin", "tools", command)
        assert (result.returncode, result.stdout) == (2, "")
        told = only(result.stderr)
        assert told.startswith(f"no command named '{command}'")
        assert told.endswith("; plugin 'tools' of plugport is disabled")


# serve ----------------------------------------------------------------------------------------


@contextmanager
def serving(
    site: SitePackages, count: int, *arguments: str
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run ``plugport serve`` and yield the process and the *count* URLs that it listens on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "plugport", "serve", *arguments],
        env={**os.environ, "PYTHONPATH": str(site.path)},
        cwd=site.path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        yield process, [url_of(process.stderr) for _ in range(count)]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def url_of(stream: IO[str]) -> str:
    for line in stream:
        if line.startswith("listening on "):
            return line.removeprefix("listening on ").strip()
        assert line.startswith("plugport: warning: "), line
    raise AssertionError("it does not listen")


def ask(address: tuple[str, int] | str, question: bytes) -> bytes:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(30)
        client.connect(address)
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answer:
            return answer.read()


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


# A strategy that prepares the process -----------------------------------------------------------

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
from plugport.errors import OptionError

class EarlyMixIn:
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
        env={**os.environ, "PYTHONPATH": str(early.path)},
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
