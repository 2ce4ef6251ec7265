"""What the reference takes from the code is as the code has it, and its examples are right."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pluggy
import pytest
from pages import ROOT, blocks_of

from plugport.plugin import specs as hookspecs

REFERENCE = ROOT / "docs" / "reference"
FACES = re.findall(r"^## (plugport[.\w]*)$", (REFERENCE / "api.md").read_text(), re.MULTILINE)
EXAMPLES = [block.text for block in blocks_of(REFERENCE / "hooks.md")]


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", ROOT / "docs" / "generate", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_it_is_as_the_code_has_it() -> None:
    result = generate("--check")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", ""), "run: python docs/generate"


def test_it_says_how_it_is_used() -> None:
    result = generate("--chekc")
    assert (result.returncode, result.stderr) == (2, "usage: python docs/generate [--check]\n")


def test_every_hook_has_an_example() -> None:
    names = [name for name in vars(hookspecs) if name.startswith("plugport_")]
    assert [re.findall(r"^def (\w+)", example, re.MULTILINE) for example in EXAMPLES] == [
        [name] for name in names
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: re.findall(r"^def (\w+)", text, re.M)[0])
def test_an_example_fits_its_hook(example: str) -> None:
    namespace: dict[str, object] = {}
    exec(example, namespace)
    manager = pluggy.PluginManager("plugport")
    manager.add_hookspecs(hookspecs)
    plugin = type("Plugin", (), {name: value for name, value in namespace.items() if callable(value)})
    manager.register(plugin)  # PluginValidationError for arguments that the hook does not have
    manager.check_pending()
    assert manager.get_hookcallers(plugin)


@pytest.mark.parametrize("face", FACES)
def test_every_public_name_is_described(face: str) -> None:
    page = (REFERENCE / "api.md").read_text()
    described = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    assert len(described) == len(set(described))
    (section,) = re.findall(rf"^## {re.escape(face)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    names = re.findall(r"^### (\w+)$|\[`(\w+)`\]\(#", section, re.MULTILINE)
    assert {here or elsewhere for here, elsewhere in names} >= set(importlib.import_module(face).__all__)


def test_its_faces_are_those_of_the_architecture() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    assert re.findall(r"^\| `(plugport[.\w]*)` \|", page.partition("## The faces")[2], re.MULTILINE) == FACES
