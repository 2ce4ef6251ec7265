"""load_application: imports the WSGI or ASGI application that the option ``app`` names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

from plugport import resolve_target
from plugport.errors import OptionError, PlugportError

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from plugport_http.asgi.interface import ASGIApplication

__all__ = ["check_prefix", "load_application"]

_ARGUMENTS = {"WSGI": "(environ, start_response)", "ASGI": "(scope, receive, send)"}


@overload
def load_application(text: str | None, kind: Literal["WSGI"]) -> WSGIApplication: ...
@overload
def load_application(text: str | None, kind: Literal["ASGI"]) -> ASGIApplication: ...
def load_application(text: str | None, kind: Literal["WSGI", "ASGI"]) -> Callable[..., object]:
    """Import the application that *text* names: package.module:attribute or path/to/file.py:attribute.

    Raises OptionError if *text* is None, the import fails, or the object is not an application of *kind*.
    """
    if text is None:
        raise OptionError(
            f"app: no {kind} application is given; "
            "set -o app=package.module:attribute or -o app=path/to/file.py:attribute"
        )
    try:
        found: Any = resolve_target(text)
    except PlugportError as error:
        raise OptionError(f"app: {error}") from error
    if not callable(found):
        kind_found = type(found).__name__
        article = "an" if kind_found[0] in "aeiouAEIOU" else "a"
        raise OptionError(
            f"app: {text!r} is {article} {kind_found}, which can't be called; name the application"
        )
    application: Callable[..., object] = found
    if not _accepts(application, _ARGUMENTS[kind].count(",") + 1):
        hint = _other_kind_hint(application, kind)
        raise OptionError(f"app: {text!r} does not take the arguments {_ARGUMENTS[kind]} of {kind}{hint}")
    return application


def _other_kind_hint(application: Callable[..., object], kind: str) -> str:
    other = "ASGI" if kind == "WSGI" else "WSGI"
    if _accepts(application, _ARGUMENTS[other].count(",") + 1):
        return f"; serve {other} applications with the handler {other.lower()}"
    return "; factories are not supported: name the application itself"


def _accepts(application: Callable[..., object], count: int) -> bool:
    try:
        inspect.signature(application).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        pass  # some callables written in C have no signature
    return True


def check_prefix(option: str, prefix: str) -> None:
    """Raise OptionError unless *prefix* is "" or a path such as "/shop"."""
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise OptionError(f"{option}: {prefix!r} is not a path prefix; write it like '/shop'")
