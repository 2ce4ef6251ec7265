"""Options as class attributes: Help, which documents one, and configure(), which sets them.

Options are collected, and read from text, in :mod:`plugport.combination.options`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Help", "configure"]


Target = TypeVar("Target")


@dataclass(frozen=True, slots=True)
class Help:
    """The description and the bounds of an option: ``Annotated[float, Help("seconds ...", gt=0)]``.

    ``text``: one line, with the unit. ``ge``, ``gt``, ``le``: bounds of a number.
    ``octal``: a number is written in octal, as for chmod(1).
    """

    text: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    octal: bool = False


def configure(target: Target, members: Mapping[str, object]) -> Target:
    """Return a subclass of *target*, of the same name, with *members* as its class attributes.

    Without members it is *target* itself; functools.partial is made anew around its class. Then
    ``check_options()`` is called, a class method by which a component can check its options together;
    it raises OptionError.
    """
    configured: Any = target
    if isinstance(configured, functools.partial):
        inner = configure(configured.func, members)
        configured = functools.partial(inner, *configured.args, **configured.keywords)
    elif members:
        extra = {"__module__": configured.__module__, "__doc__": configured.__doc__}
        configured = type(configured.__name__, (configured,), {**extra, **members})
    check_options = getattr(configured, "check_options", None)
    if check_options is not None:
        check_options()
    result: Target = configured
    return result
