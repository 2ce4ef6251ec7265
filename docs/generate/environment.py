"""The reference of environment variables: those that the code reads, and what it says of them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator

from installed import modules
from prose import markdown, page

__all__ = ["environment"]

_NAME = re.compile(r"PLUGPORT_[A-Z_]*[A-Z]")


def environment() -> str:
    """Return the page. ValueError if the code reads a variable that no docstring explains."""
    trees = {module.__name__: ast.parse(inspect.getsource(module)) for module in modules()}
    # What the command line's help says is meant for everybody; other docstrings are for programmers.
    texts = [text for name, tree in sorted(trees.items(), key=_help_first) for text in _docstrings(tree)]
    parts = []
    for variable in sorted({name for tree in trees.values() for name in _names(tree)}):
        explained = [text for text in texts if variable in text]
        if not explained:
            raise ValueError(f"no docstring says what {variable} is for")
        sentences = re.findall(rf"(?:[^.]|\.\S)*\b{variable}\b.*?\.(?=\s|$)", explained[0], re.DOTALL)
        parts.append(f"## {variable}\n\n" + markdown(" ".join(" ".join(sentences).split())))
    return page("Environment variables", "They are read when the command line starts.", *parts)


def _help_first(item: tuple[str, ast.Module]) -> bool:
    return not item[0].startswith("plugport.cli")


def _names(tree: ast.Module) -> Iterator[str]:
    """The variables for people: one that begins with an underscore is the business of scripts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.fullmatch(node.value):
            yield node.value


def _docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            yield ast.get_docstring(node) or ""
