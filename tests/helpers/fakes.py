"""Distributions made up for a test: metadata, entry points and modules in a directory of sys.path."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from textwrap import dedent

__all__ = ["Run", "SitePackages"]

#: The fixture ``run``: the arguments of ``plugport``, and variables of the environment by keyword.
Run = Callable[..., subprocess.CompletedProcess[str]]


class SitePackages:
    """A directory on sys.path, to which distributions are added as an installer would."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def python_path(self) -> str:
        """``PYTHONPATH`` for a process that sees it."""
        return os.pathsep.join([str(self.path), *filter(None, [os.environ.get("PYTHONPATH")])])

    def add(
        self,
        name: str,
        plugin: str | None = "",
        *,
        version: str = "1.0",
        entry_point: str | None = None,
        module: str | None = None,
        files: dict[str, str] | None = None,
        requires: Iterable[str] = (),
    ) -> str:
        """Install a distribution *name* whose plugin module has the source *plugin*; return its module.

        None for *plugin*: it declares no entry point. *requires*: what its metadata require.
        """
        module = module or name.replace("-", "_").replace(".", "_").lower() + "_plugin"
        info = self.path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        if plugin is not None:
            (info / "entry_points.txt").write_text(f"[plugport]\n{entry_point or module} = {module}\n")
            self.write(f"{module}.py", "import plugport\n" + dedent(plugin))
        for path, source in (files or {}).items():
            self.write(path, dedent(source))
        importlib.invalidate_caches()
        return module

    def write(self, path: str, source: str) -> Path:
        """Write a module."""
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        return file

    def forget_modules(self) -> None:
        """Remove from sys.modules what was imported from here."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(self.path):
                del sys.modules[name]
