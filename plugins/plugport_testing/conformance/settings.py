"""The message for an attribute that the author of a suite must set."""

from __future__ import annotations

from difflib import get_close_matches

__all__ = ["missing_setting"]


def missing_setting(suite: type, name: str, example: str) -> str:
    """Return the message that *suite* does not set the attribute *name*, with an *example* of its value.

    It names the attribute that may be a misspelt *name*, if there is one.
    """
    attributes = [each for base in suite.__mro__ for each in vars(base)]
    # Higher than difflib's default, so that a method of the suites is not taken for one.
    similar = get_close_matches(name, attributes, 1, 0.85)
    hint = f" (is {similar[0]!r} a misspelt {name!r}?)" if similar else ""
    return f"{suite.__name__} does not set {name!r}{hint}; add {name} = {example}"
