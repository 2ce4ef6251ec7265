"""The rules of the house: what may import what, how it is typed, what is private, what is public.

``python tests/helpers/house.py`` prints how each rule stands.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys

import house
import pytest
from sources import ALL, CORE, PLUGINS, ROOT


def test_the_top_of_the_core_is_seen_at_a_glance() -> None:
    entries = house.top_entries()
    assert len(entries) <= house.MOST_ENTRIES, entries


@pytest.mark.parametrize("rule", house.RULES)
def test_nothing_breaks_the_rule(rule: str) -> None:
    offenders = house.RULES[rule]()
    assert not offenders, f"{len(offenders)} {rule}:\n" + "\n".join(offenders)


@pytest.mark.parametrize("folder", house.ANY_LIMITS)
def test_few_parameters_are_annotated_with_any(folder: str) -> None:
    count, total, places = house.any_shares()[folder]
    share = f"{count} of {total} parameters, {count / total:.1%}"
    assert count <= house.ANY_LIMITS[folder] * total, f"{share}:\n" + "\n".join(places)


@pytest.mark.parametrize("name", [name for name in CORE | PLUGINS if not name.endswith("__main__")])
def test_all_is_there_and_right(name: str) -> None:
    tree = ALL[name].tree
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
    source = ALL[name].path.read_text()
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
