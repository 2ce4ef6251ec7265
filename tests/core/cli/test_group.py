"""The command line as a whole: its errors, its global options, commands of plugins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import only
from fakes import Run, SitePackages

import plugport

CORE = str(Path(plugport.__file__).parent.parent)


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
