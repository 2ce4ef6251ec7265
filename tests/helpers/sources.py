"""The modules of the repository, and their syntax trees: what the rules of tests/helpers/house.py read."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["ALL", "CONTRIB", "CORE", "PLUGINS", "ROOT", "Module", "imports_of", "methods_of"]

ROOT = Path(__file__).resolve().parents[2]


class Module(NamedTuple):
    """A module of the repository; *source* is for one that is made up."""

    name: str
    path: Path
    source: str = ""

    @property
    def tree(self) -> ast.Module:
        """Its parsed source: each worker of a test run collects its name, and one needs that."""
        return _parsed(self.source or self.path.read_text())

    @property
    def package(self) -> str:
        """The package whose folder it is in."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @property
    def unit(self) -> str:
        """The package within which private names are known: a wing of ours, a distribution of contrib."""
        parts = self.package.split(".")
        return parts[0] if self.name in CONTRIB else ".".join(parts[:2])

    @property
    def top(self) -> str:
        """The outermost package."""
        return self.name.partition(".")[0]

    def at(self, node: ast.AST, what: str) -> str:
        """An offender."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}: {what}"


@cache
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


def _modules(*sources: Path) -> dict[str, Module]:
    found = {}
    for source in sources:
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            if (source / parts[0] / "__init__.py").is_file():
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found[name] = Module(name, path)
    return found


CORE = _modules(ROOT / "core")
PLUGINS = _modules(ROOT / "plugins")
CONTRIB = _modules(*sorted(ROOT.glob("contrib/*/src")))
ALL = CORE | PLUGINS | CONTRIB


@cache
def imports_of(name: str) -> list[tuple[ast.stmt, str, str | None]]:
    """The (statement, module, name) of what a module imports anywhere in it, for type checkers too."""
    found: list[tuple[ast.stmt, str, str | None]] = []
    for node in ast.walk(ALL[name].tree):
        if isinstance(node, ast.Import):
            found += [(node, alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            found += [(node, node.module or "", alias.name) for alias in node.names]
    return found


def methods_of(tree: ast.AST) -> set[ast.AST]:
    """The functions whose first parameter is the object or the class."""
    return {
        node
        for cls in ast.walk(tree)
        if isinstance(cls, ast.ClassDef)
        for node in cls.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and "staticmethod" not in [ast.unparse(decorator) for decorator in node.decorator_list]
    }
