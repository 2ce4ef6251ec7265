"""Applications: from the option ``app`` to what is called for each request."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

from plugport import resolve_target
from plugport.errors import OptionError, PlugportError

__all__ = ["check_prefix", "load_application"]

_ARGUMENTS = {"WSGI": "(environ, start_response)", "ASGI": "(scope, receive, send)"}


def load_application(text: str | None, kind: Literal["WSGI", "ASGI"]) -> Callable[..., Any]:
    """Import the application that *text* names: package.module:attribute or path/to/file.py:attribute.

    Raises OptionError if there is none, it fails to import, or it is no application of that kind.
    """
    if text is None:
        raise OptionError(
            f"app: no {kind} application was named; "
            "say -o app=package.module:attribute or -o app=path/to/file.py:attribute"
        )
    try:
        found = resolve_target(text)
    except PlugportError as error:
        raise OptionError(f"app: {error}") from error
    if not callable(found):
        kind_found = type(found).__name__
        article = "an" if kind_found[0] in "aeiouAEIOU" else "a"
        raise OptionError(
            f"app: {text!r} is {article} {kind_found}, and can't be called; name the application"
        )
    if not _takes(found, _ARGUMENTS[kind].count(",") + 1):
        other = _other_kind(found, kind)
        raise OptionError(f"app: {text!r} is not called with {_ARGUMENTS[kind]}, as {kind} has it{other}")
    return found  # type: ignore[no-any-return]


def _other_kind(application: Any, kind: str) -> str:
    other = "ASGI" if kind == "WSGI" else "WSGI"
    if _takes(application, _ARGUMENTS[other].count(",") + 1):
        return f"; if it is of {other}, serve it by the handler {other.lower()}"
    return "; a factory is not called: name what it returns"


def _takes(application: Any, count: int) -> bool:
    try:
        inspect.signature(application).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        pass  # some that are written in C tell no signature
    return True


def check_prefix(option: str, prefix: str) -> None:
    """Raise OptionError unless *prefix* is "" or a path such as "/shop"."""
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise OptionError(f"{option}: {prefix!r} is no path to put before others; write it like '/shop'")
