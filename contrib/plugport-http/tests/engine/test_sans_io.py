"""The engine imports no module that does I/O."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import plugport_http.engine

MODULES = sorted(Path(plugport_http.engine.__path__[0]).glob("*.py"))
DOING = {"asyncio", "select", "selectors", "signal", "socket", "subprocess", "threading", "plugport"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_engine_imports_no_io(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported
    assert not imported & DOING


def test_engine_has_modules() -> None:
    assert {"connection", "head", "chunks"} <= {path.stem for path in MODULES}
