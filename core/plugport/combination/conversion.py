"""Conversion: from the text of an option to the value its annotation asks for, by msgspec."""

from __future__ import annotations

import codecs
import enum
import json
import shlex
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from plugport.contracts.members import Help
from plugport.errors import OptionError

__all__ = ["convert", "is_convertible", "type_name", "validate"]

_WORDS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
_SEQUENCES = (list, tuple)
_UNIONS = (Union, types.UnionType)


def is_convertible(kind: object) -> bool:
    """Whether a value of the type *kind* can be written as text."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return is_convertible(arguments[0])
    if origin is Literal:
        return True
    if origin in _UNIONS or origin in _SEQUENCES:
        return all(is_convertible(each) for each in arguments if each is not Ellipsis)
    if not isinstance(kind, type):
        return False
    return kind in (bool, int, float, str, bytes, types.NoneType, *_SEQUENCES) or issubclass(kind, enum.Enum)


def convert(name: str, kind: object, note: Help, text: str) -> Any:
    """Read *text* as a value of the type *kind*, within the bounds of *note*.

    int        decimal, or 0x, 0o, 0b; octal in any case if the note says so
    bool       true, yes, on, 1; false, no, off, 0
    bytes      the text in UTF-8, with the escapes of a bytes literal
    list, …    a JSON array, or words as the shell splits them
    ``null``, ``none``   None, where the type allows it

    Raises OptionError, with *name* as the option's.
    """
    import msgspec

    alternatives = _alternatives(kind)
    if types.NoneType in alternatives and text.strip().lower() in ("null", "none"):
        return None
    try:
        value = _read(alternatives, note, text)
        return msgspec.convert(value, _bounded(alternatives, note), strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        culprit = _culprit(alternatives, value) if isinstance(error, msgspec.ValidationError) else ""
        raise OptionError(f"option {name}: expected {type_name(kind, note)}, got {text!r}{culprit}") from None


def validate(name: str, kind: object, note: Help, value: object) -> Any:
    """Return *value* if it is of the type *kind*, within the bounds of *note*.

    Raises OptionError, with *name* as the option's.
    """
    import msgspec

    try:
        # Left to itself msgspec would take a str for bytes, by base64.
        return msgspec.convert(value, _bounded(_alternatives(kind), note), builtin_types=(bytes,))
    except msgspec.ValidationError:
        expected = type_name(kind, note)
        raise OptionError(f"option {name}: expected {expected}, got {value!r}") from None


def type_name(kind: object, note: Help | None = None) -> str:
    """Write the type and the bounds of an option for people: ``int >= 0 or null``."""
    names = []
    for each in _alternatives(kind):
        if each is types.NoneType:
            names.append("null")
        elif get_origin(each) is Literal:
            names += [str(value) for value in get_args(each)]
        elif isinstance(each, type) and issubclass(each, enum.Enum):
            names += [str(member.value) for member in each]
        elif each in (int, float) and note is not None:
            bounds = [
                f" {sign} {bound:g}" for sign, bound in _bounds(note, ">=", ">", "<=") if bound is not None
            ]
            kind_name = "int" if each is int else "float"
            names.append(("octal " if note.octal else "") + kind_name + " and".join(bounds))
        else:
            names.append(each.__name__ if isinstance(each, type) and get_origin(each) is None else str(each))
    return " or ".join(names)


def _alternatives(kind: object) -> tuple[object, ...]:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_args(kind) if get_origin(kind) in _UNIONS else (kind,)


def _read(alternatives: tuple[object, ...], note: Help, text: str) -> Any:
    """Turn *text* into what msgspec converts on; ValueError if it can't be one of *alternatives*."""
    for kind in alternatives:
        if kind is bytes:
            return codecs.escape_decode(text.encode())[0]
        if kind is bool and text.strip().lower() in _WORDS:
            return _WORDS[text.strip().lower()]
        if (get_origin(kind) or kind) in _SEQUENCES:
            return json.loads(text) if text.lstrip().startswith("[") else shlex.split(text)
    if bool in alternatives and len(set(alternatives) - {types.NoneType}) == 1:
        raise ValueError(text)
    if int in alternatives:
        try:
            return _int(text, note.octal)
        except ValueError:
            if not set(alternatives) - {int, types.NoneType}:
                raise
    return text


def _culprit(alternatives: tuple[object, ...], value: object) -> str:
    """Return `` ('x' is not float)`` of what is wrong in a list, "" if *value* is none or has no such."""
    import msgspec

    kinds = {each for kind in alternatives for each in get_args(kind) if each is not Ellipsis}
    if not isinstance(value, list) or len(kinds) != 1:
        return ""  # it is not the same that is expected of each
    (kind,) = kinds
    for each in value:
        try:
            msgspec.convert(each, kind, strict=False)
        except msgspec.ValidationError:
            return f" ({each!r} is not {type_name(kind)})"
    return ""


def _int(text: str, octal: bool) -> int:
    if octal:
        return int(text, 8)
    try:
        return int(text)
    except ValueError:
        return int(text, 0)


def _bounded(alternatives: tuple[object, ...], note: Help) -> Any:
    import msgspec

    bounds: Mapping[str, Any] = {
        name: bound for name, bound in _bounds(note, "ge", "gt", "le") if bound is not None
    }
    if bounds:
        meta = msgspec.Meta(**bounds)
        alternatives = tuple(Annotated[each, meta] if each in (int, float) else each for each in alternatives)
    return Union[alternatives]  # noqa: UP007 - of a tuple


def _bounds(note: Help, ge: str, gt: str, le: str) -> tuple[tuple[str, float | None], ...]:
    return (ge, note.ge), (gt, note.gt), (le, note.le)
