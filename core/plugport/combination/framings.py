"""The framing of a message handler: chosen by name in the registry, with the options that it brings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, TypeVar

from plugport.combination.options import collect, parse_own
from plugport.contracts.members import configure
from plugport.errors import OptionError, PlugportError
from plugport.handlers.framing import FRAMINGS, FramingClass, check_framing
from plugport.handlers.messages import MessageHandler, message_handler_class
from plugport.plugin.registry import Registry, default_registry

__all__ = ["assign_framing", "choose_framing", "parse_framing"]

Handler = TypeVar("Handler")
#: The keys of the option.
_KEYS = ("framing", "handler.framing")


def choose_framing(
    handler: Handler, framing: str | FramingClass | None = None, registry: Registry | None = None
) -> Handler:
    """Return *handler* with a *framing*, by default the one that it declares.

    *framing* is a class, or a name in *registry*, by default that of the installed plugins. The result
    is a subclass of *handler* whose options are the handler's and the framing's. A handler that is no
    MessageHandler class, or declares a built-in framing, is returned as it is. Raises OptionError.
    """
    inner = message_handler_class(handler)
    if inner is None:
        return handler
    if framing is None:
        framing = inner.framing
        if isinstance(framing, str) and framing in FRAMINGS:
            return handler
    try:
        framing_class = check_framing(_find(framing, registry), inner)
    except PlugportError as error:
        raise OptionError(f"option handler.framing: {error}") from error
    known = collect(inner)
    options = [option for option in collect(framing_class).values() if option.name not in known]
    members: dict[str, object] = {
        "framing": framing_class,
        "__annotations__": {option.name: Annotated[option.type, option.note] for option in options},
    }
    for option in options:
        members[option.name] = getattr(inner, option.name, option.default)
    configured: Handler = configure(handler, members)
    return configured


def _find(framing: str | FramingClass, registry: Registry | None) -> object:
    if not isinstance(framing, str):
        return framing
    # The names of the built-in framings are reserved: they mean the same without any plugin.
    found: object = FRAMINGS.get(framing) or (registry or default_registry()).get("framing", framing)
    return found


def parse_framing(handler: Handler, texts: Iterable[str], registry: Registry) -> tuple[Handler, list[str]]:
    """Choose the framing that ``KEY=VALUE`` *texts* name: return the handler with it, and the other texts.

    To be called before the texts are parsed, for a framing may bring options. Raises OptionError.
    """
    texts = list(texts)
    if message_handler_class(handler) is None:
        return handler, texts
    own = [text for text in texts if "=" in text and text.partition("=")[0].strip() in _KEYS]
    framing = parse_own(own, "handler", MessageHandler).get("framing")
    return choose_framing(handler, framing, registry), [text for text in texts if text not in own]


def assign_framing(
    handler: Handler, values: Mapping[str, object], registry: Registry | None = None
) -> tuple[Handler, dict[str, object]]:
    """Do the same with *values* that are objects already; the framing may be a class."""
    if message_handler_class(handler) is None:
        return handler, dict(values)
    framing = next((values[key] for key in _KEYS if key in values), None)
    if not (framing is None or isinstance(framing, (str, type))):
        raise OptionError(f"option handler.framing: expected a name or a class, got {framing!r}")
    others = {key: value for key, value in values.items() if key not in _KEYS}
    return choose_framing(handler, framing, registry), others
