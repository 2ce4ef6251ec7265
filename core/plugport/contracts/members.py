"""Options as class attributes: the note that documents one, and a subclass that has them set.

Reading the notes and converting text by them is the business of :mod:`plugport.combination.options`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Help", "configure"]


@dataclass(frozen=True, slots=True)
class Help:
    """What a member variable means, and what its value is held to.

    ``text``: one line, with the unit. ``ge``, ``gt``, ``le``: bounds of a number.
    ``octal``: text is read as an octal number, as chmod(1) reads it.
    """

    text: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    octal: bool = False


def configure(target: Any, members: Mapping[str, Any]) -> Any:
    """Return *target* with *members* as its class attributes: a subclass of the same name.

    Without members it is *target* itself. A component that must look at its options together has
    a class method ``check_options()``, which is called then, and raises OptionError.
    """
    if isinstance(target, functools.partial):
        return functools.partial(configure(target.func, members), *target.args, **target.keywords)
    if members:
        extra = {"__module__": target.__module__, "__doc__": target.__doc__}
        target = type(target.__name__, (target,), {**extra, **members})
    check_options = getattr(target, "check_options", None)
    if check_options is not None:
        check_options()
    return target
