"""What plugport doctor finds: its findings, read from its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from fakes import SitePackages

HANDLER = "@plugport.hookimpl\ndef plugport_register_handlers():\n    yield plugport.Component({})\n"

UPPER = "import plugport\nclass Upper(plugport.BaseRequestHandler): pass\n"


def found(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What ``plugport doctor --json`` has found; its exit status must go with that."""
    assert result.stderr == ""
    findings: list[dict[str, Any]] = json.loads(result.stdout)
    problem = any(each["status"] == "problem" for each in findings)
    assert result.returncode == (1 if problem else 0)
    for each in findings:
        assert each.keys() == {"check", "status", "message", "remedy"}
        assert "\n" not in each["message"]
        assert (each["remedy"] is None) == (each["status"] == "ok")
    return findings


Doctor = Callable[..., dict[str, list[tuple[str, str, str]]]]


def only(findings: list[tuple[str, str, str]], status: str) -> tuple[str, str]:
    """Message and remedy of the one finding of that status."""
    (one,) = [each[1:] for each in findings if each[0] == status]
    return one  # type: ignore[return-value]


def under(
    site: SitePackages, *prefix: str, arguments: tuple[str, ...] = (), **env: str
) -> list[dict[str, Any]]:
    """What the doctor finds, started by *prefix*."""
    command = [*prefix, sys.executable, "-m", "plugport", "doctor", "--json", *arguments]
    environ = {**os.environ, "PYTHONPATH": site.python_path, **env}
    return found(subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60))


def of(findings: list[dict[str, Any]], check: str) -> list[dict[str, Any]]:
    return [each for each in findings if each["check"] == check]
