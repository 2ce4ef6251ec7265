"""MessageHandler: the handler of single messages, whatever carries them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from plugport.contracts.interfaces import ClientAddress, Handler
from plugport.contracts.members import Help
from plugport.contracts.requests import Server
from plugport.contracts.traits import Style, TransportKind, unwrapped
from plugport.handlers.framing import FRAMINGS, Framing

__all__ = ["MessageHandler", "Respond", "responder"]

Respond = Callable[[bytes], bytes | None]


class MessageHandler:
    """Answers messages one by one: each connection, or each datagram, has an instance of its own.

    On stream servers a message comes without its frame, and the reply is framed the same way; on
    datagram servers a datagram is a message. ``self.client_address`` and ``self.server`` are set.
    respond() runs wherever the strategy runs it, a loop that serves others too: it must not wait.
    """

    style: ClassVar[Style] = "message"
    transports: ClassVar[frozenset[TransportKind]] = frozenset({"stream", "datagram"})
    shared_state: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = False

    framing: Annotated[
        Literal["lines", "length-prefixed", "netstring", "delimiter", "fixed"],
        Help("how messages stand in a stream"),
    ] = "lines"
    max_message_size: Annotated[
        int, Help("longest message in bytes; with the framing 'fixed', the length of each", gt=0)
    ] = 65536
    delimiter: Annotated[bytes, Help("what ends a message, with the framing 'delimiter'")] = b"\0"
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
        """Return a framing for one connection."""
        return FRAMINGS[cls.framing](cls.max_message_size, cls.delimiter, cls.prefix_size)


def responder(
    handler: Handler,
) -> tuple[Callable[[ClientAddress, Server], Respond], Callable[[], Framing]]:
    """Return what makes a responder of (client_address, server), and what makes a framing.

    *handler* is a MessageHandler class, or a plain function of a message.
    """
    inner: Any = unwrapped(handler)
    if isinstance(inner, type):
        make_framing: Callable[[], Framing] = inner.make_framing  # type: ignore[attr-defined]
        return (lambda client_address, server: handler(client_address, server).respond), make_framing
    return (lambda client_address, server: handler), MessageHandler.make_framing
