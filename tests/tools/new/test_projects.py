"""What ``plugport new`` makes: installed, listed, served, tested and checked, as its author would do it."""

from __future__ import annotations

import json
import shlex
import socket
from pathlib import Path
from typing import NamedTuple

import pytest
from clients import dial
from environments import Environment
from once import made_once

from plugport.handlers import STYLES
from plugport_tools.new.names import Names
from plugport_tools.new.rendering import render
from plugport_tools.new.shapes import CONCURRENCY, HOOKS, SERVER, handler_shape
from plugport_tools.new.writing import write_project

pytestmark = pytest.mark.slow

#: The projects by their names: the kind that is made, and its options.
PROJECTS: dict[str, list[str]] = {
    **{f"lines-{style}": ["handler", "--style", style] for style in STYLES},
    **{f"datagrams-{style}": ["handler", "--style", style, "--datagrams"] for style in STYLES},
    "limited": ["server"],
    "pooled": ["concurrency"],
    "counting": ["hooks"],
}
#: Names that are as long as they may be, or are changed for Python and for installers.
ODD_NAMES = ["a", "class", "a1.b+c-2", "n" * 32]


class Workshop(NamedTuple):
    """An environment with the projects made and installed in it, and what was printed when they were."""

    environment: Environment
    folder: Path
    printed: dict[str, list[str]]

    def command(self, name: str, program: str) -> list[str]:
        """The command that runs *program*, of those that were printed."""
        (found,) = [line for line in self.printed[name][-3:] if line.startswith(f"  {program} ")]
        return shlex.split(found)


@pytest.fixture(scope="session")
def workshop(with_plugport: Environment, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The one workshop of this run."""

    def make(folder: Path) -> None:
        environment = with_plugport.copy(folder)
        environment.pip("install", "--no-compile", "pytest", "mypy", "ruff", "hatchling", "editables")
        made = {name: _make(environment, name, *arguments) for name, arguments in PROJECTS.items()}
        places = [option for name in made for option in ("--editable", folder / f"plugport-{name}")]
        environment.pip("install", "--no-build-isolation", "--no-deps", *places)
        (folder / "printed.json").write_text(json.dumps(made))

    folder = made_once(tmp_path_factory, "workshop", make)
    return Workshop(Environment(folder), folder, json.loads((folder / "printed.json").read_text()))


def _make(environment: Environment, name: str, kind: str, *options: str) -> list[str]:
    result = environment.run("plugport", "new", kind, name, *options)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


@pytest.mark.parametrize("name", PROJECTS)
def test_it_is_listed(workshop: Workshop, name: str) -> None:
    kind = PROJECTS[name][0]
    what = "plugins" if kind == "hooks" else kind if kind == "concurrency" else f"{kind}s"
    entries = json.loads(workshop.environment.run("plugport", "list", what, "--json").stdout)
    (entry,) = [entry for entry in entries if entry["name"] == name]
    assert (entry["distribution"], entry["version"]) == (f"plugport-{name}", "0.1.0")
    assert entry["status"] == ("active" if kind == "hooks" else "available")


@pytest.mark.parametrize("name", PROJECTS)
def test_it_serves(workshop: Workshop, name: str) -> None:
    command = [word.replace("9000", "0") for word in workshop.command(name, "plugport")]
    with workshop.environment.running(*command) as service:
        scheme, port = service.wait_for(r"listening on (\w+)://127\.0\.0\.1:(\d+)\n").groups()
        kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
        with dial(socket.AF_INET, kind, ("127.0.0.1", int(port))) as client:
            client.sendall(b"world\n")
            greeting = b"hello, " if PROJECTS[name][0] == "handler" else b""
            assert client.recv(100) == greeting + b"world\n"
    # The plugin of hooks is installed, so it is at work in all of them.
    assert "1 started, 1 completed" in service.output


@pytest.mark.parametrize("name", PROJECTS)
def test_its_own_tests_pass(workshop: Workshop, name: str) -> None:
    result = workshop.environment.run(*workshop.command(name, "pytest"))
    assert result.returncode == 0, result.stdout
    summary = result.stdout.splitlines()[-1]
    assert " passed" in summary
    assert "skipped" not in summary


@pytest.mark.parametrize("name", PROJECTS)
def test_its_types_are_right(workshop: Workshop, name: str) -> None:
    # What all of them import need be looked at only once.
    cache = workshop.folder / ".mypy_cache"
    result = workshop.environment.run("mypy", "--cache-dir", cache, cwd=workshop.folder / f"plugport-{name}")
    assert result.returncode == 0, result.stdout
    assert "in 4 source files" in result.stdout or PROJECTS[name] == ["hooks"]


def test_linters_find_nothing_whatever_the_name_is(workshop: Workshop) -> None:
    folders = [workshop.folder / f"plugport-{name}" for name in PROJECTS]
    shapes = [SERVER, CONCURRENCY, HOOKS]
    shapes += [handler_shape(style, datagrams) for style in STYLES for datagrams in (False, True)]
    for number, shape in enumerate(shapes):
        for name in ODD_NAMES:
            folders.append(workshop.folder / f"odd-{number}-{name}")
            write_project(folders[-1], render(shape, Names(name)))
    for command in (["check"], ["format", "--check"]):
        result = workshop.environment.run("ruff", *command, "--no-cache", *folders)
        assert result.returncode == 0, result.stdout
