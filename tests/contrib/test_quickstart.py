"""The quick start, and the page on publishing that goes on from there, done as they say."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from environments import clean_environ
from pages import Reader, blocks_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "quickstart.md", ROOT / "docs" / "how-to" / "publish.md"]


def test_they_can_be_done(offline: dict[str, str], tmp_path: Path) -> None:
    clone = tmp_path / "plugport"
    clone.mkdir()
    for name in ("core", "plugins"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    # python3 is the Python that runs the tests.
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python3").chmod(0o755)
    environ = {**clean_environ(), **offline}
    environ["PATH"] = f"{programs}:{environ['PATH']}"
    # pip is to leave compiling to the first import, as half of what it installs is never imported.
    # (The variable is the value of pip's option "compile", whatever its name says.)
    environ["PIP_NO_COMPILE"] = "0"
    reader = Reader(clone, environ)
    for page in PAGES:
        reader.do(blocks_of(page))
