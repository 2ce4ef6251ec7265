"""Options: the annotated class attributes of components, and their values from ``KEY=VALUE`` texts.

The conversion of a text is in :mod:`plugport.combination.conversion`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, get_args, get_origin

from plugport.combination.conversion import convert, is_convertible, validate
from plugport.contracts.component import PARTS, Part
from plugport.contracts.members import Help
from plugport.contracts.traits import unwrapped
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
    """A class attribute that can be set by name.

    ``type`` is its annotation without the Help, which is ``note``; ``default`` is its value on the class;
    ``owner`` is the last class that annotates it.
    """

    name: str
    type: Any
    default: object
    note: Help
    owner: type

    @property
    def help(self) -> str:
        """What it means, in one line."""
        return self.note.text


def collect(target: object) -> dict[str, Option]:
    """Return the options of a class by name, those of its base classes first.

    An option is a public annotated class attribute that has a value, and whose type can be read from text.
    The set ``hidden_options`` of a class names attributes that are no options of it and its subclasses; a
    subclass that annotates one again with Help shows it again. Annotations that can't be resolved are left
    out. functools.partial has the options of its class; functions have none.
    """
    target = unwrapped(target)
    if isinstance(target, type) and is_foreign_server(target):
        target = adopt(target)
    options: dict[str, Option] = {}
    if not isinstance(target, type):
        return options
    hidden: set[str] = set()
    for owner in reversed(target.__mro__):
        for name, annotation in _annotations(owner):
            kind, note = _split(annotation)
            if note.text:
                hidden.discard(name)
            elif name in options:
                note = options[name].note
            if _hides(annotation) or name in hidden:
                options.pop(name, None)
            elif _is_option(target, name, kind):
                value = getattr(target, name)
                # The standard library writes 1 for True.
                options[name] = Option(name, kind, bool(value) if kind is bool else value, note, owner)
        for name in vars(owner).get("hidden_options", ()):
            hidden.add(name)
            options.pop(name, None)
    return options


def _split(annotation: object) -> tuple[Any, Help]:
    """Return the type of an annotation, and its Help; one without text where there is none."""
    if get_origin(annotation) is not Annotated:
        return annotation, Help("")
    kind, *notes = get_args(annotation)
    return kind, next((note for note in notes if isinstance(note, Help)), Help(""))


def _is_option(target: type, name: str, kind: object) -> bool:
    value = inspect.getattr_static(target, name, inspect.Parameter.empty)
    # A descriptor is no value: a method, a property, a slot.
    has_value = value is not inspect.Parameter.empty and not hasattr(type(value), "__get__")
    return has_value and is_convertible(kind)


def _annotations(owner: type) -> Iterable[tuple[str, Any]]:
    if owner is getattr(sys.modules.get("socketserver"), "StreamRequestHandler", None):
        owner = handlers.StreamRequestHandler  # the same options, with Help
    namespace = vars(sys.modules.get(owner.__module__, handlers))
    for name, annotation in inspect.get_annotations(owner).items():
        if name.startswith("_"):
            continue
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, dict(vars(owner)), dict(namespace))
            except Exception:
                continue  # it names what is imported for type checkers only
        yield name, annotation


def _hides(annotation: object) -> bool:
    return annotation in (ClassVar, Final) or get_origin(annotation) in (ClassVar, Final)


def parse_options(
    texts: Iterable[str], parts: Mapping[Part, object], names: Mapping[Part, str]
) -> dict[Part, dict[str, Any]]:
    """Return the class attributes that ``KEY=VALUE`` texts set, for each part of a combination.

    *parts* are the classes, *names* those that ``plugport show`` takes for them. A key may have its part
    before it: ``handler.timeout=5``. Raises OptionError for a key that is unknown, or belongs to several
    parts, and for a value of the wrong type.
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


def parse_own(texts: Iterable[str], part: Part, target: object) -> dict[str, Any]:
    """Return the class attributes of *target*, the one *part*, that the texts set.

    Texts that set no option of it are ignored: parse_options(), which has all parts, checks them.
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
    values: Mapping[str, object], parts: Mapping[Part, object], names: Mapping[Part, str]
) -> dict[Part, dict[str, Any]]:
    """Return the same as parse_options() for *values* that are objects, by their keys."""
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
    # Server and strategy become one class: an option that both have from one class is one attribute.
    owners = {(part == "handler", available[part][name].owner) for part in holders}
    if len(owners) > 1:
        raise OptionError(
            f"option {key!r} is ambiguous; write {one_of(f'{part}.{name}' for part in holders)}"
        )
    return available[holders[0]][name], holders[0]
