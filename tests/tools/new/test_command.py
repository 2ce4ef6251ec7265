"""``plugport new``: what it makes and prints, and what it refuses, leaving nothing behind."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import error_of, plugport
from fakes import Run, SitePackages

from plugport.errors import ScaffoldError
from plugport.handlers import STYLES
from plugport_tools.new.names import Names
from plugport_tools.new.rendering import render
from plugport_tools.new.shapes import CONCURRENCY, HOOKS, SERVER, Shape, handler_shape
from plugport_tools.new.writing import write_project

SHAPES = [*(handler_shape(style, datagrams) for style in STYLES for datagrams in (False, True))]
SHAPES += [SERVER, CONCURRENCY, HOOKS]
#: A keyword, modules of the standard library, every character that a name may have, and the longest.
ODD_NAMES = ["class", "none", "socket", "plugport", "a", "a1.b+c-2", "x.", "n" * 32]

COMMON = {
    ".github/workflows/test.yml",
    ".gitignore",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "src/plugport_mine/__init__.py",
    "src/plugport_mine/plugin.py",
    "src/plugport_mine/py.typed",
}


def files_in(folder: Path) -> dict[str, str]:
    """The texts of all files below *folder*, hidden ones included, by their paths."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# What it makes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("handler", {"src/plugport_mine/handler.py", "tests/test_handler.py"}),
        ("server", {"src/plugport_mine/server.py", "tests/test_server.py"}),
        ("concurrency", {"src/plugport_mine/concurrency.py", "tests/test_concurrency.py"}),
        ("hooks", {"tests/test_plugin.py"}),
    ],
)
def test_it_makes_a_project_and_says_so(tmp_path: Path, kind: str, own: set[str]) -> None:
    result = plugport(tmp_path, "new", kind, "mine")
    assert (result.returncode, result.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["plugport-mine"]
    made = files_in(tmp_path / "plugport-mine")
    assert made.keys() == COMMON | own
    told = result.stdout.splitlines()
    assert told[0].startswith("made plugport-mine, a ")
    assert told[1:-4] == [f"  plugport-mine/{path}" for path in sorted(made)]
    assert told[-4] == "install, test and serve it:"


@pytest.mark.parametrize("activated", [True, False])
def test_the_commands_are_those_of_the_environment(tmp_path: Path, activated: bool) -> None:
    scripts = sysconfig.get_path("scripts")
    path = f"{scripts}{os.pathsep}{os.defpath}" if activated else os.defpath
    result = plugport(tmp_path, "new", "hooks", "mine", "--directory", "my own", env={"PATH": path})
    programs = [name if activated else f"{scripts}/{name}" for name in ("pip", "pytest", "plugport")]
    assert [shlex.split(line) for line in result.stdout.splitlines()[-3:]] == [
        [programs[0], "install", "--editable", "./my own[test]"],
        [programs[1], "./my own"],
        [programs[2], "serve", "echo", "tcp://127.0.0.1:9000"],
    ]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.serve)
def test_whatever_the_name_is_what_it_makes_is_code(shape: Shape, name: str) -> None:
    names = Names(name)
    for path, text in render(shape, names).items():
        assert "$" not in text.replace("${{ matrix.python }}", ""), path
        if path.endswith(".py"):
            compile(text, path, "exec")
            assert path.startswith((f"src/{names.package}/", "tests/"))
            assert all(part.removesuffix(".py").isidentifier() for part in Path(path).parts)


def test_names() -> None:
    names = Names("a1.b+c-2")
    assert names.plugin == "a1-b-c-2"
    assert names.distribution == "plugport-a1-b-c-2"
    assert names.package == "plugport_a1_b_c_2"
    assert names.class_name("Server") == "A1BC2Server"
    assert Names("x.").distribution == "plugport-x"


def test_a_directory_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    for name in ("new one", "empty", tmp_path / "absolute", "empty/../-x"):
        result = plugport(tmp_path, "new", "hooks", "mine", "--directory", name)
        assert (result.returncode, result.stderr) == (0, "")
        assert "src/plugport_mine/plugin.py" in files_in(tmp_path / name)
    assert error_of(plugport(tmp_path, "new", "hooks", "mine", "--directory", "link")).startswith(
        "directory 'link' is not empty"
    )


def test_a_link_to_an_empty_directory_stays_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    assert plugport(tmp_path, "new", "hooks", "mine", "--directory", "link").returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "empty" / "README.md").is_file()


def test_the_directory_s_mode_is_that_of_any_other(tmp_path: Path) -> None:
    assert plugport(tmp_path, "new", "hooks", "mine").returncode == 0
    (tmp_path / "other").mkdir()
    assert (tmp_path / "plugport-mine").stat().st_mode == (tmp_path / "other").stat().st_mode


# What it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["handler", "Mine"], "component name 'Mine' is not a lower-case letter followed by letters, "),
        (["server", "my_server"], "component name 'my_server' is not "),
        (["hooks", ""], "component name '' is not "),
        (["hooks", "server"], "the options of a plugin 'server' would have the prefix"),
        (["hooks", "n" * 33], "the name has 33 characters; 32 are the most"),
        (["handler", "echo"], "handler 'echo' is plugport's own, and would shadow yours; choose another "),
        (["server", "tcp"], "server 'tcp' is plugport's own, "),
        (["concurrency", "asyncio"], "concurrency strategy 'asyncio' is plugport's own, "),
        (["hooks", "builtins"], "there is a plugin 'builtins' of plugport; choose another name"),
        (["handler", "message"], "the class of 'message' would be MessageHandler, which is the name of one "),
        (["server", "t-c-p"], "the class of 't-c-p' would be TCPServer, "),
        (["handler", "x", "--style", "other"], "Invalid value for '--style': 'other' is not one of "),
        (["server", "x", "--style", "async"], "No such option '--style' (plugport new server --help)"),
        (["handlers", "x"], "No such command 'handlers'"),
        (["handler"], "Missing argument 'NAME' (plugport new handler --help)"),
        ([], "Missing command (plugport new --help)"),
        (["hooks", "x", "--directory", "file"], "'file' is a file; name a directory with --directory"),
        (["hooks", "x", "--directory", "full"], "directory 'full' is not empty; name another one with "),
        (["hooks", "x", "--directory", "."], "a project can't take the place of the current directory; "),
        (["hooks", "x", "--directory", "no/x"], "can't make 'no/x': there is no directory "),
        (["hooks", "x", "--directory", "file/x"], "can't make 'file/x': there is no directory "),
        (["hooks", "x", "--directory", "n" * 300], "can't make 'nnnn"),
        (["hooks", "x", "--directory", "loop"], "can't make 'loop': "),
        (["hooks", "x", "--directory", "/proc/x"], "can't make '/proc/x': "),
    ],
)
def test_it_refuses_and_makes_nothing(tmp_path: Path, arguments: list[str], error: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / ".hidden").write_text("mine too")
    (tmp_path / "loop").symlink_to("loop")
    before = files_in(tmp_path)
    assert error_of(plugport(tmp_path, "new", *arguments)).startswith(error)
    assert files_in(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"file", "full", "loop"}


@pytest.fixture
def installed(site: SitePackages) -> Iterator[SitePackages]:
    """Distributions of strangers: one with a handler 'mine', one without a plugin, and a lone module."""
    site.add(
        "my-dist",
        """
        @plugport.hookimpl
        def plugport_register_handlers():
            return [plugport.Component("mine", "somewhere:Mine")]
        """,
        entry_point="entry",
    )
    site.add("Plugport.Quiet", None, version="2.5")
    site.write("plugport_module.py", "")
    return site


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("kind", "name", "error"),
    [
        ("handler", "mine", "there is a handler 'mine' of my-dist; choose another name"),
        ("hooks", "entry", "there is a plugin 'entry' of my-dist; choose another name"),
        ("server", "quiet", "plugport-quiet 2.5 is installed; uninstall it, or choose another name"),
        ("server", "module", "there is a module 'plugport_module' ("),
    ],
)
def test_it_refuses_names_that_are_taken(run: Run, tmp_path: Path, kind: str, name: str, error: str) -> None:
    before = set(tmp_path.iterdir())
    assert error_of(run("new", kind, name)).startswith(error)
    assert set(tmp_path.iterdir()) == before
    # The same name for another kind of component takes nothing from anybody.
    assert run("new", "server", "mine").returncode == 0


def test_a_directory_of_the_package_s_name_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "plugport_mine").mkdir()
    result = plugport(tmp_path, "new", "hooks", "mine", "--directory", "plugport_mine")
    assert (result.returncode, result.stderr) == (0, "")


def test_when_the_disk_is_full_nothing_is_left(tmp_path: Path) -> None:
    # No file may be longer than one block, of 512 or 1024 bytes, which the license is.
    limited = ("/bin/sh", "-c", 'ulimit -f 1; exec "$@"', "sh")
    result = plugport(tmp_path, "new", "hooks", "mine", prefix=limited)
    assert error_of(result) == "can't make 'plugport-mine': File too large"
    assert list(tmp_path.iterdir()) == []


def test_what_comes_in_between_is_not_overwritten(tmp_path: Path) -> None:
    class Meanwhile(dict[str, str]):
        def items(self):  # type: ignore[no-untyped-def]
            yield "README.md", "mine"
            (tmp_path / "there").mkdir()
            (tmp_path / "there" / "README.md").write_text("yours")

    with pytest.raises(ScaffoldError, match=r"can't make '.*there': Directory not empty"):
        write_project(tmp_path / "there", Meanwhile())
    assert files_in(tmp_path) == {"there/README.md": "yours"}


# How it fits in -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plugport ne", "plain,new"),
        ("plugport new h", "plain,handler\nplain,hooks"),
        ("plugport new handler x --style p", "plain,protocol"),
        ("plugport new handler x --da", "plain,--datagrams"),
    ],
)
def test_its_words_are_completed(run: Run, line: str, expected: str) -> None:
    words = line.split()
    result = run(_PLUGPORT_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    assert (result.stdout.strip(), result.stderr) == (expected, "")


def test_help_and_other_commands_do_without_the_scaffold() -> None:
    script = "import sys; from plugport.cli import main; main({}); sys.exit(' '.join(sys.modules))"
    for arguments in (["--help"], ["list"], ["new", "handler", "--help"]):
        code = script.format(arguments)
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
        scaffold = {name for name in result.stderr.split() if name.startswith("plugport_tools.new.")}
        assert scaffold <= {"plugport_tools.new.command"}
        assert "plugport.plugin.manager" in result.stderr.split()
