"""The rules of the source tree: what may import what, how long a module may be, what it makes public."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [
    ROOT / "core",
    ROOT / "plugins",
    *sorted(ROOT.glob("contrib/*/src")),
    *sorted(ROOT.glob("contrib/*")),
]


def name_of(path: Path, source: Path) -> str:
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules_of(*sources: Path) -> dict[str, Path]:
    return {
        name_of(path, source): path
        for source in sources
        for package in source.iterdir()
        if (package / "__init__.py").is_file() and package.name != "tests"
        for path in sorted(package.rglob("*.py"))
    }


CORE = modules_of(ROOT / "core")
BUILTINS = modules_of(ROOT / "plugins")
CONTRIB = modules_of(*(source for source in SOURCES[2:] if source.is_dir()))
ALL = CORE | BUILTINS | CONTRIB


@cache
def imports_of(name: str) -> list[tuple[str, str | None]]:
    """The (module, name) pairs that a module imports, anywhere in it."""
    path = ALL[name]
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            found += [(node.module or "", alias.name) for alias in node.names]
    return found


def dependencies_of(name: str) -> set[str]:
    """The modules of ours that a module imports; a package itself only where nothing narrower is meant."""
    found = set()
    for module, attribute in imports_of(name):
        submodule = f"{module}.{attribute}"
        if attribute is not None and submodule in ALL:
            found.add(submodule)
        elif module in ALL:
            found.add(module)
    return found


def test_core_imports_no_plugin() -> None:
    for name in CORE:
        foreign = [module for module, _ in imports_of(name) if module.split(".")[0] not in {"plugport"}]
        assert not [module for module in foreign if module.startswith("plugport")], name


def test_plugins_import_nothing_private_of_core() -> None:
    for name in BUILTINS | CONTRIB:
        for module, attribute in imports_of(name):
            if module.split(".")[0] == "plugport":
                path = [*module.split("."), *([attribute] if attribute else [])]
                assert not [part for part in path if part.startswith("_")], f"{name} imports {'.'.join(path)}"


def test_imports_form_no_circle() -> None:
    graph = {name: dependencies_of(name) - {name} for name in ALL}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("name", [name for name in CORE | BUILTINS if not name.endswith("__main__")])
def test_all_is_there_and_right(name: str) -> None:
    tree = ast.parse(ALL[name].read_text())
    declared = [
        node
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        and ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target) == "__all__"
    ]
    names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    public = {each for each in names if not each.startswith("_")}
    if not declared:
        assert not public, f"{name} has no __all__"
        return
    module = importlib.import_module(name)
    assert [each for each in module.__all__ if not hasattr(module, each)] == []
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("name", ALL)
def test_a_module_is_short_and_says_what_lives_in_it(name: str) -> None:
    source = ALL[name].read_text()
    assert source.count("\n") <= 400
    assert ast.get_docstring(ast.parse(source)), f"{name} has no docstring"


def test_no_package_where_there_should_be_none() -> None:
    for folder in ("core", "plugins", "contrib", "tests"):
        assert not (ROOT / folder / "__init__.py").exists()


def test_importing_plugport_is_light() -> None:
    code = (
        "import sys, plugport; heavy = {'click', 'rich', 'msgspec', 'pluggy', 'asyncio', 'socket'}; "
        "print(*(heavy | {'plugport_builtins'}) & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
