"""The note on a member variable that makes it a documented option: ``Annotated[int, Help("...")]``.

Reading the notes and converting text by them is the business of :mod:`plugport.options`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Help"]


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
