"""From what the code says of itself to Markdown: docstrings, signatures, tables."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

__all__ = ["first_paragraph", "markdown", "page", "signature", "table"]

#: ``name``  what it is; or the name on a line of its own, and what it is indented below.
_TERM = re.compile(r"(``[^`]+``(?:, ``[^`]+``)*)(?:  +(.*))?$")
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


def page(title: str, *parts: str) -> str:
    """Return a page of *parts*, with a note for those who would edit it."""
    note = "<!-- Written by `python docs/generate` from the code; a change here would be lost. -->"
    return "\n\n".join([f"# {title}", note, *(part.strip("\n") for part in parts if part.strip())]) + "\n"


def markdown(docstring: str | None) -> str:
    """Return a docstring as Markdown: its examples as code, its lists of terms as lists."""
    paragraphs = []
    for paragraph in inspect.cleandoc(docstring or "").split("\n\n"):
        paragraphs.append(paragraph)
        # An indented block may have empty lines.
        if len(paragraphs) > 1 and _is_indented(paragraph) and _is_indented(paragraphs[-2]):
            paragraphs[-2:] = ["\n\n".join(paragraphs[-2:])]
    return "\n\n".join(_rendered(paragraphs))


def _is_indented(paragraph: str) -> bool:
    return paragraph.startswith("    ")


def _rendered(paragraphs: Sequence[str]) -> Iterator[str]:
    literal = False
    for paragraph in paragraphs:
        if _is_indented(paragraph):
            language = "python" if literal else "text"
            yield f"```{language}\n{textwrap.dedent(paragraph)}\n```"
        elif _TERM.match(paragraph.partition("\n")[0]):
            yield _inline("\n".join(_terms(paragraph)))
        else:
            lead, _, block = paragraph.partition("\n    ")
            text = lead.removesuffix("::") + (":" if lead.endswith("::") and lead != "::" else "")
            if text:
                yield _inline(text)
            if block:
                yield f"```text\n{textwrap.dedent('    ' + block)}\n```"
        literal = paragraph.endswith("::")


def _terms(paragraph: str) -> Iterator[str]:
    for line in paragraph.splitlines():
        found = _TERM.match(line)
        if found:
            yield f"- {found[1]}:" + (f" {found[2]}" if found[2] else "")
        else:
            yield f"  {line.strip()}"


def _inline(text: str) -> str:
    return _ROLE.sub(r"`\1`", text).replace("``", "`")


def first_paragraph(docstring: str | None) -> str:
    """Return the first paragraph of a docstring on one line."""
    return _inline(" ".join(inspect.cleandoc(docstring or "").partition("\n\n")[0].split()))


def signature(function: Callable[..., Any]) -> str:
    """Return ``name(arguments) -> result`` of a function, as its source has it."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef))
    arguments = re.sub(r"^(self|cls)(, |$)", "", ast.unparse(definition.args))
    arguments = re.sub(r"(: [^=,]+)=", r"\1 = ", arguments)
    result = f" -> {ast.unparse(definition.returns)}" if definition.returns else ""
    return f"{definition.name}({arguments}){result}".replace("'", '"')


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; "" if it has no rows."""
    lines = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    if not lines:
        return ""
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *lines])
