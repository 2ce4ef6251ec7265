"""MessageHandler: the base class of handlers of single messages, on streams and on datagrams."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from plugport.contracts.interfaces import ClientAddress, Handler
from plugport.contracts.members import Help
from plugport.contracts.requests import Server
from plugport.contracts.traits import Style, TransportKind, unwrapped
from plugport.errors import OptionError
from plugport.handlers.framing import FRAMINGS, Framing, FramingClass, framing_factory

if TYPE_CHECKING:
    FramingChoice = str | FramingClass
else:
    FramingChoice = str  # the type of the option: text can only name a framing

__all__ = ["MessageHandler", "Respond", "framing_maker", "message_handler_class", "responder"]

Respond = Callable[[bytes], bytes | None]
#: Makes the responder of a connection, or of a datagram, from (client_address, server).
MakeRespond = Callable[[ClientAddress, Server], Respond]


class MessageHandler:
    """Answers messages one by one: each connection, or each datagram, has an instance of its own.

    On stream servers a message comes without its frame, and the reply is framed the same way; on
    datagram servers a datagram is a message. ``self.client_address`` and ``self.server`` are set.
    respond() runs wherever the strategy runs it, in a loop that serves other clients too: it must not
    wait.

    ``framing`` is the name of a framing, or, in code, the class. Options of the framing are
    attributes of the handler: ``max_message_size`` of every framing, ``delimiter`` and
    ``prefix_size`` of those that have them.
    """

    style: ClassVar[Style] = "message"
    transports: ClassVar[frozenset[TransportKind]] = frozenset({"stream", "datagram"})
    shared_state: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = False

    framing: Annotated[
        FramingChoice, Help("framing of the messages in a stream (plugport list framings)")
    ] = "lines"
    max_message_size: Annotated[
        int, Help("longest message in bytes; with the framing 'fixed', bytes of each message", gt=0)
    ] = 65536
    delimiter: Annotated[bytes, Help("bytes that end a message, with the framing 'delimiter'")] = b"\0"
    prefix_size: Annotated[
        int, Help("bytes of the length, with the framing 'length-prefixed'", ge=1, le=8)
    ] = 4

    def __init__(self, client_address: ClientAddress, server: Server) -> None:
        self.client_address = client_address
        self.server = server

    def respond(self, message: bytes) -> bytes | None:
        """Return the reply to *message*, None for none. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} does not define respond()")

    @classmethod
    def make_framing(cls) -> Framing:
        """Return a framing for one connection. May be overridden, instead of ``framing``.

        Raises OptionError if ``framing`` names none of the built-in framings: other names are found
        by the registry of plugins, see :func:`plugport.combination.choose_framing`.
        """
        return _factory_of(cls)()


def responder(handler: Handler) -> MakeRespond:
    """Return what makes a responder of (client_address, server).

    *handler* is a MessageHandler class, or a plain function of a message.
    """
    if isinstance(unwrapped(handler), type):
        return lambda client_address, server: handler(client_address, server).respond
    return lambda client_address, server: handler


def framing_maker(handler: Handler) -> Callable[[], Framing]:
    """Return what makes the framing of each connection; what needs to be looked up is looked up here.

    Raises OptionError as :meth:`MessageHandler.make_framing` does.
    """
    inner: Any = unwrapped(handler)
    if not isinstance(inner, type):
        return _factory_of(MessageHandler)
    message_handler = message_handler_class(inner)
    if message_handler is None or _overrides_make_framing(message_handler):
        make_framing: Callable[[], Framing] = inner.make_framing  # type: ignore[attr-defined]
        return make_framing
    return _factory_of(message_handler)


def message_handler_class(handler: object) -> type[MessageHandler] | None:
    """Return the MessageHandler class that *handler* is, perhaps inside functools.partial; or None."""
    inner = unwrapped(handler)
    return inner if isinstance(inner, type) and issubclass(inner, MessageHandler) else None


def _overrides_make_framing(handler: type[MessageHandler]) -> bool:
    own = next(vars(owner)["make_framing"] for owner in handler.__mro__ if "make_framing" in vars(owner))
    return own is not vars(MessageHandler)["make_framing"]


def _factory_of(handler: type[MessageHandler]) -> Callable[[], Framing]:
    framing = handler.framing
    if isinstance(framing, str):
        if framing not in FRAMINGS:
            raise OptionError(
                f"framing {framing!r} of {handler.__name__} is not built in, and no plugins are loaded to "
                "look it up; set the attribute to the framing class"
            )
        framing = FRAMINGS[framing]
    return framing_factory(framing, handler)
