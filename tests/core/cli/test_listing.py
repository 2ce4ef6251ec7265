"""plugport list."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from fakes import Run, SitePackages


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
    env = {**os.environ, "PYTHONPATH": site.python_path}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert result.stderr == ""
