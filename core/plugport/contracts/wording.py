"""Parts of error messages: similar names, lists of names, and an exception in one line."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from types import TracebackType

import importlib_metadata
import pluggy

__all__ = ["describe_error", "nearest", "one_of"]


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return ``; did you mean 'x' or 'y'?`` of the *known* names that resemble *name*, or "".

    *prefix* is put before each.
    """
    import difflib  # late: only an error needs it

    near = difflib.get_close_matches(name, sorted(known), n=2)
    return f"; did you mean {one_of(repr(prefix + each) for each in near)}?" if near else ""


def one_of(names: Iterable[str]) -> str:
    """Return ``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def describe_error(error: BaseException) -> str:
    """Return one line for *error*: its type, its message, and where in the source it was raised."""
    message = " ".join(str(error).split())
    line = f"{type(error).__name__}: {message}" if message else type(error).__name__
    place = None if isinstance(error, SyntaxError) else _raised_at(error.__traceback__)
    return f"{line} ({place})" if place else line


#: Folders of code that calls plugins, and is never at fault itself.
_CALLERS = tuple(
    os.path.dirname(file) + os.sep
    for file in (__file__, importlib.__file__, importlib_metadata.__file__, pluggy.__file__)
)


def _raised_at(trace: TracebackType | None) -> str | None:
    place = None
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if not filename.startswith(("<frozen", *_CALLERS)):
            place = f"{os.path.basename(filename)}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place
