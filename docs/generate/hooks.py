"""The reference of hooks: what a plugin may implement."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from prose import markdown, page, signature

from plugport.plugin import specs as hookspecs

__all__ = ["hooks"]

#: What stands above the specifications that belong together.
_GROUP = re.compile(r"^# (.+?) -{3,}$", re.MULTILINE)


def hooks() -> str:
    """Return the page."""
    return page(
        "Hooks",
        markdown(hookspecs.__doc__).partition("\n\n")[2],
        *_groups(),
    )


def _groups() -> Iterator[str]:
    _, *parts = _GROUP.split(inspect.getsource(hookspecs))
    for title, source in zip(parts[::2], parts[1::2], strict=True):
        yield f"## {title}"
        for name in re.findall(r"^def (plugport_\w+)", source, re.MULTILINE):
            specification = getattr(hookspecs, name)
            first = " It stops at the first result that is not None." * _stops_at_the_first(specification)
            yield f"### {name}\n\n`{signature(specification)}`{first}"
            yield _complete(markdown(specification.__doc__))


def _stops_at_the_first(specification: object) -> bool:
    return bool(getattr(specification, "plugport_spec", {}).get("firstresult"))


def _complete(text: str) -> str:
    """Have each example import what it names, so that it can be tried."""
    return text.replace("```python\n@plugport.", "```python\nimport plugport\n\n\n@plugport.")
