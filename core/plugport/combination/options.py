"""Options: the annotated member variables of a class, and setting them from ``KEY=VALUE`` texts.

How a text becomes a value is in :mod:`plugport.combination.conversion`.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Annotated, Any, ClassVar, Final, get_args, get_origin

from plugport.combination.conversion import convert, is_convertible, validate
from plugport.contracts.component import PARTS, Part
from plugport.contracts.members import Help
from plugport.contracts.wording import nearest, one_of
from plugport.errors import OptionError
from plugport.handlers import base as handlers
from plugport.serving.adoption import adopt, is_foreign_server

__all__ = [
    "Option",
    "Part",
    "UnknownOptionError",
    "assign_options",
    "collect",
    "parse_options",
    "parse_own",
]


class UnknownOptionError(OptionError):
    """No part of the combination has an option of that name."""


@dataclass(frozen=True, slots=True)
class Option:
    """A member variable that can be set by name.

    ``type`` is its annotation without the note, ``default`` its value on the class, ``note`` what
    its Help says; ``owner`` is the class that annotates it last.
    """

    name: str
    type: Any
    default: Any
    note: Help
    owner: type

    @property
    def help(self) -> str:
        """What it means, in one line."""
        return self.note.text


def collect(target: Any) -> dict[str, Option]:
    """Return the options of a class by name, those of its base classes first.

    An option is a public annotated class attribute that has a value, and whose type can be read
    from text. Annotations that can't be resolved are passed over. Inside functools.partial its
    class is looked at; functions have no options.
    """
    while isinstance(target, functools.partial):
        target = target.func
    if isinstance(target, type) and is_foreign_server(target):
        target = adopt(target)
    options: dict[str, Option] = {}
    if not isinstance(target, type):
        return options
    for owner in reversed(target.__mro__):
        for name, annotation in _annotations(owner):
            options.pop(name, None) if _hides(annotation) else _add(options, target, owner, name, annotation)
    return options


def _add(options: dict[str, Option], target: type, owner: type, name: str, annotation: Any) -> None:
    note, kind = Help(""), annotation
    if get_origin(annotation) is Annotated:
        kind, *notes = get_args(annotation)
        note = next((found for found in notes if isinstance(found, Help)), note)
    if not note.text:
        # Core's own classes note every option; what they annotate plainly is their state.
        if owner.__module__.partition(".")[0] == "plugport":
            return
        if name in options:
            note = options[name].note
    value = getattr(target, name, inspect.Parameter.empty)
    plain = value is not inspect.Parameter.empty and not isinstance(value, (FunctionType, property))
    if plain and is_convertible(kind):
        if kind is bool:
            value = bool(value)  # the standard library writes 1
        options[name] = Option(name, kind, value, note, owner)


def _annotations(owner: type) -> Iterable[tuple[str, Any]]:
    if owner is getattr(sys.modules.get("socketserver"), "StreamRequestHandler", None):
        owner = handlers.StreamRequestHandler  # the same member variables, with notes
    namespace = vars(sys.modules.get(owner.__module__, handlers))
    for name, annotation in inspect.get_annotations(owner).items():
        if name.startswith("_"):
            continue
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, dict(vars(owner)), dict(namespace))
            except Exception:
                continue  # names something that is imported for type checkers only
        yield name, annotation


def _hides(annotation: Any) -> bool:
    return annotation in (ClassVar, Final) or get_origin(annotation) in (ClassVar, Final)


def parse_options(
    texts: Iterable[str], parts: Mapping[Part, Any], names: Mapping[Part, str]
) -> dict[Part, dict[str, Any]]:
    """Turn ``KEY=VALUE`` texts into members for each part of a combination.

    *parts* are the classes, *names* what ``plugport show`` knows them by. A key may have its part
    before it: ``handler.timeout=5``. Raises OptionError for a key that is unknown, or belongs to
    several parts, and for a value of the wrong type.
    """
    available = {part: collect(target) for part, target in parts.items()}
    members: dict[Part, dict[str, Any]] = {part: {} for part in PARTS}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise OptionError(f"option {text!r} is not KEY=VALUE")
        option, part = _choose(key, available, names)
        members[part][option.name] = convert(f"{part}.{option.name}", option.type, option.note, value)
    return members


def parse_own(texts: Iterable[str], part: Part, target: Any) -> dict[str, Any]:
    """Turn those of the texts that are options of *target*, the one *part*, into its members.

    The others are passed over: those who know all parts of the combination judge them.
    """
    available = collect(target)
    members: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        option = available.get(key.strip().removeprefix(f"{part}."))
        if equals and option is not None:
            members[option.name] = convert(f"{part}.{option.name}", option.type, option.note, value)
    return members


def assign_options(
    values: Mapping[str, Any], parts: Mapping[Part, Any], names: Mapping[Part, str]
) -> dict[Part, dict[str, Any]]:
    """Do the same with *values* that are objects already, by their keys."""
    available = {part: collect(target) for part, target in parts.items()}
    members: dict[Part, dict[str, Any]] = {part: {} for part in PARTS}
    for key, value in values.items():
        option, part = _choose(key, available, names)
        members[part][option.name] = validate(f"{part}.{option.name}", option.type, option.note, value)
    return members


def _choose(
    key: str, available: Mapping[Part, Mapping[str, Option]], names: Mapping[Part, str]
) -> tuple[Option, Part]:
    prefix, dot, name = key.partition(".")
    if dot:
        if prefix not in available:
            raise OptionError(
                f"option {key!r}: the prefix must be {one_of(f'{part}.' for part in available)}"
            )
        candidates: list[Part] = [part for part in available if part == prefix]
    else:
        name, candidates = key, list(available)
    holders = [part for part in candidates if name in available[part]]
    if not holders:
        known = {known for part in candidates for known in available[part]}
        hint = nearest(name, known, key.removesuffix(name))
        shows = " or ".join(f"plugport show {names[part]}" for part in candidates)
        raise UnknownOptionError(f"no option {key!r}{hint} ({shows})")
    # Server and strategy become one class: what both have from one place is one attribute.
    owners = {(part == "handler", available[part][name].owner) for part in holders}
    if len(owners) > 1:
        raise OptionError(
            f"option {key!r} is ambiguous; write {one_of(f'{part}.{name}' for part in holders)}"
        )
    return available[holders[0]][name], holders[0]
