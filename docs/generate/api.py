"""The reference of what authors import from ``plugport``: classes, their methods, functions."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from components import options_table
from prose import first_paragraph, markdown, page, signature

import plugport
from plugport.combination.options import collect
from plugport.handlers.base import AsyncRequestHandler
from plugport.handlers.messages import MessageHandler

__all__ = ["api"]


def api() -> str:
    """Return the page."""
    return page(
        "Python",
        "What authors of components and plugins import from `plugport`, and two classes besides.",
        *(part for name in plugport.__all__ for part in _described(name, getattr(plugport, name))),
        *(part for cls in (MessageHandler, AsyncRequestHandler) for part in _described(cls.__name__, cls)),
    )


def _described(name: str, value: Any) -> Iterator[str]:
    yield f"## {name}"
    if inspect.isclass(value):
        yield f"`{value.__module__}.{name}`"
        yield markdown(value.__doc__)
        yield options_table(collect(value).values())
        yield "\n".join(_methods(value))
    elif inspect.isfunction(value):
        yield f"`{signature(value)}`"
        yield markdown(value.__doc__)
    else:
        yield "The marker of a plugin's functions that implement hooks: see [hooks](hooks.md)."


def _methods(cls: type) -> Iterator[str]:
    """A line for each public method, in the order of the classes that bring them."""
    seen = set()
    for owner in cls.__mro__:
        if owner.__module__.partition(".")[0] != "plugport":
            continue
        for name, member in vars(owner).items():
            function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
            if (
                name.startswith("_")
                or name in seen
                or not inspect.isfunction(function)
                or not function.__doc__
            ):
                continue
            seen.add(name)
            yield f"- `{signature(function)}`  \n  {first_paragraph(function.__doc__)}"
