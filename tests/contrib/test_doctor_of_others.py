"""The doctor on strangers' packages: one that is broken, shadowed and in conflict, built and installed."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from environments import Environment, build_wheel

pytestmark = pytest.mark.slow

PROJECT = """
    [build-system]
    requires = ["hatchling>=1.27"]
    build-backend = "hatchling.build"

    [project]
    name = "plugport-trouble"
    version = "1.2"
    dependencies = ["plugport>=99", "greenlet", "no-such-distribution; python_version < '3'"]

    [project.entry-points.plugport]
    broken = "plugport_trouble.broken"
    shady = "plugport_trouble.shady"
"""
BROKEN = "import a_module_that_nobody_has\n"
SHADY = """
    from plugport import Component, Finding, hookimpl

    @hookimpl
    def plugport_register_handlers():
        yield Component("echo", "plugport_trouble.shady:silent", "No echo")

    @hookimpl
    def plugport_doctor():
        yield Finding("warning", "it is quiet here", "make some noise")

    def silent(message: bytes) -> None:
        return None
"""


def diagnosed(environment: Environment) -> tuple[int, list[dict[str, Any]]]:
    result = environment.run("plugport", "doctor", "tcp://127.0.0.1:0", "--json")
    assert result.stderr == ""
    return result.returncode, [each for each in json.loads(result.stdout) if each["status"] != "ok"]


def test_what_is_wrong_with_a_stranger_s_package_is_found(with_plugport: Environment, tmp_path: Path) -> None:
    project = tmp_path / "project"
    package = project / "plugport_trouble"
    package.mkdir(parents=True)
    for file, text in (
        (project / "pyproject.toml", PROJECT),
        (package / "__init__.py", ""),
        (package / "broken.py", BROKEN),
        (package / "shady.py", SHADY),
    ):
        file.write_text(dedent(text))
    environment = with_plugport.copy(tmp_path / "environment")
    # This machine may have troubles of its own.
    before_status, before = diagnosed(environment)
    assert not [each for each in before if each["check"] in ("plugins", "components", "requirements")]
    environment.pip("install", "--no-deps", build_wheel(project, tmp_path))
    status, after = diagnosed(environment)
    assert status == 1
    version = environment.run("plugport", "--version").stdout.split()[1]
    assert [each for each in after if each not in before] == [
        {
            "check": "plugins",
            "status": "problem",
            "message": "plugin 'broken' of plugport-trouble 1.2 failed: "
            "ModuleNotFoundError: No module named 'a_module_that_nobody_has' (broken.py, line 1)",
            "remedy": "repair or upgrade it, or do without: "
            "plugport --disable-plugin plugport-trouble:broken",
        },
        {
            "check": "components",
            "status": "warning",
            "message": "handler 'echo' of plugport-trouble: the name is a built-in's",
            "remedy": "use plugport-trouble:echo",
        },
        {
            "check": "requirements",
            "status": "problem",
            "message": f"plugport-trouble 1.2 needs plugport>=99, and {version} is installed",
            "remedy": "pip install 'plugport>=99'",
        },
        {
            "check": "plugport-trouble:shady",
            "status": "warning",
            "message": "it is quiet here",
            "remedy": "make some noise",
        },
    ]
    (plugin,) = json.loads(environment.run("plugport", "show", "shady", "--json").stdout)
    assert plugin["module"] == "plugport_trouble.shady"
    assert [(each["name"], each["status"]) for each in plugin["components"]] == [("echo", "shadowed")]
    environment.pip("uninstall", "--yes", "plugport-trouble")
    assert diagnosed(environment) == (before_status, before)
