"""Fixtures for tests of plugins, registry and command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import Run, SitePackages


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SitePackages]:
    """An empty directory on sys.path, for distributions of the test's own."""
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.delenv("PLUGPORT_DISABLE", raising=False)
    monkeypatch.syspath_prepend(path)
    site = SitePackages(path)
    yield site
    site.forget_modules()


@pytest.fixture
def run(site: SitePackages) -> Run:
    """run(*arguments) is the result of ``plugport`` with these, in a process that sees *site*."""

    def run_plugport(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(site.path), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.run(
            [sys.executable, "-m", "plugport", *arguments],
            env={**os.environ, "PYTHONPATH": path, **env},
            cwd=site.path.parent,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run_plugport
