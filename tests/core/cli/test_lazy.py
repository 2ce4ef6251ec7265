"""Commands that are imported when they are called, the core's and those of plugins."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from command import only
from fakes import Run, SitePackages

from plugport.cli import LazyCommand
from plugport.cli.commands import FIRST_COMMANDS, LAST_COMMANDS
from plugport_tools.plugin import plugport_register_commands

OWN_COMMANDS = {"list", "show", "check", "matrix", "serve", "bench", "doctor", "new", "completion"}

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
