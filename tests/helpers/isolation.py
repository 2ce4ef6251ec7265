"""Hides plugins of other distributions, so that tests see what plugport ships and what they add themselves.

Of several distributions with one name the first on sys.path counts: an empty one is put before each.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from importlib.metadata import Distribution
from pathlib import Path

__all__ = ["hide_other_plugins"]

#: The variable of the environment that names the folder, for the workers of pytest-xdist.
_FOLDER = "PLUGPORT_TEST_HIDDEN"


def hide_other_plugins() -> None:
    """Hide them from this process and from those that it starts."""
    if _FOLDER not in os.environ:
        os.environ[_FOLDER] = folder = tempfile.mkdtemp(prefix="hidden")
        atexit.register(_remove, folder, os.getpid())
        for name, version in _others():
            info = Path(folder, f"{name.replace('-', '_')}-{version}.dist-info")
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        kept = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, kept] if kept else [folder])
    folder = os.environ[_FOLDER]
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _others() -> set[tuple[str, str]]:
    return {
        (distribution.metadata["Name"], distribution.version)
        for distribution in Distribution.discover()
        if any(point.group == "plugport" for point in distribution.entry_points)
        and distribution.metadata["Name"] != "plugport"
    }


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # not in a child that was forked
        shutil.rmtree(folder, ignore_errors=True)
