"""Declared: what a server class declares and can be asked before it runs: traits, options, address, TLS."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from plugport.contracts.interfaces import ServerAddress
from plugport.contracts.loops import Poller
from plugport.contracts.traits import ServerTraits, StrategyTraits, Style, server_traits, strategy_traits
from plugport.serving.accounting import RequestAccounting
from plugport.serving.url import Url, format_url, resolve_url

if TYPE_CHECKING:
    import ssl

__all__ = ["Declared"]


class Declared(RequestAccounting):
    """What a server class declares, its strategy's declarations among it."""

    #: The name of the server component, which is the scheme of its URL.
    scheme: str = "tcp"

    #: What the strategy and the server class declare; read when the class is made.
    strategy_traits: ClassVar[StrategyTraits] = StrategyTraits()
    server_traits: ClassVar[ServerTraits] = ServerTraits()
    #: How many requests get_request() may be asked for when the socket is ready: above 1 only where it raises
    #: BlockingIOError rather than wait. A class that overrides get_request() declares it again, or has 1.
    max_burst: ClassVar[int] = 1

    #: How the serving loop, and a bridge with a loop of its own, wait for descriptors; None: by the best
    #: poller of the platform, which holds the thread. A strategy on another library's loop sets it.
    poller_class: ClassVar[type[Poller] | None] = None
    #: The style of RequestHandlerClass, once it was adapted to the strategy.
    handler_style: Style | None = None
    RequestHandlerClass: Callable[..., Any]

    #: Seconds that a client has for its TLS handshake.
    handshake_timeout: float = 10.0
    #: Seconds that a connection's preludes may take, and how many connections may be at them.
    prelude_timeout: float = 10.0
    max_preludes: int = 512

    #: Whether server_close() waits for what a strategy still runs; a service that abandons requests at the
    #: end of its grace sets it to False. Strategies honour it.
    block_on_close: bool = True

    #: Attributes with a type and a value that are state, or options of server classes alone.
    hidden_options: ClassVar[frozenset[str]] = frozenset(
        {
            "block_on_close",
            "concurrency_name",
            "drain_deadline",
            "handler_name",
            "handler_style",
            "handshake_timeout",
            "has_service_actions",
            "max_preludes",
            "prelude_timeout",
            "scheme",
            "wakes_at_end",
        }
    )

    if TYPE_CHECKING:  # what this needs of the server class
        socket: Any
        server_address: ServerAddress
        address_family: int
        socket_type: int

    def __init_subclass__(cls, **keywords: object) -> None:
        super().__init_subclass__(**keywords)
        cls.strategy_traits = strategy_traits(cls)
        cls.server_traits = server_traits(cls)
        for base in cls.__mro__:
            if "max_burst" in vars(base):
                break
            if "get_request" in vars(base):
                cls.max_burst = 1
                break

    @classmethod
    def check_options(cls) -> None:
        """Check the options together, when they have been set. Raises OptionError.

        Server and strategy become one class: a class that overrides this calls super()'s.
        """

    @classmethod
    def resolve_url(cls, url: Url) -> tuple[ServerAddress, dict[str, object]]:
        """Return the server address of *url*, and the class attributes that go with it.

        The default reads host and port or a path, by the class's address_family. Raises
        AddressError for a URL that makes no sense. A server of another kind overrides this.
        """
        return resolve_url(url, getattr(cls, "address_family", socket.AF_INET), cls.is_stream())

    def listening_url(self) -> str:
        """Return where the server listens, with the real port: ``tcp://127.0.0.1:9000``."""
        return format_url(self.scheme, getattr(self, "server_address", None))

    @classmethod
    def is_stream(cls) -> bool:
        """Return whether requests are connections (True) or datagrams (False); by ``socket_type``."""
        kind: int = getattr(cls, "socket_type", socket.SOCK_STREAM)
        return kind != socket.SOCK_DGRAM

    def tls_context(self) -> ssl.SSLContext:
        """Return the context for the next connection of a server with the trait ``secure``.

        Such a server overrides this. plugport sets options and sslsocket_class of the context.
        """
        raise NotImplementedError(f"{type(self).__name__} is secure and does not define tls_context()")

    def wrap_connection(self, request: socket.socket) -> ssl.SSLSocket:
        """Return an ssl.SSLSocket on *request*, before the handshake, for a blocking handler.

        A strategy with a class of sockets of its own overrides this. *request* still belongs to the server,
        which closes it after the SSLSocket.
        """
        from plugport.bridges.tls.sockets import wrap_connection

        return wrap_connection(request, self.tls_context())

    def backlog(self) -> int:
        """Return how many connections may wait to be accepted; 0 where that is not known."""
        size: int = getattr(self, "request_queue_size", 0)
        return size
