"""How a server takes, runs and ends requests, and is stopped: for authors of servers and strategies."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugport.bridges import adapt, bridge_between
    from plugport.bridges.coroutine import handler_lifespan, serve_datagram, serve_stream
    from plugport.bridges.greenlets import SwitchedProtocol
    from plugport.bridges.tls.sockets import SecuredSocketMixIn, do_handshake, suppress_ragged_eof
    from plugport.bridges.watching import ConnectionWatch
    from plugport.loop.loop import ServerLoop
    from plugport.loop.poller import EpollPoller, blocking_poller, make_poller
    from plugport.serving.accounting import is_record_keeping, record_keeping
    from plugport.serving.adoption import adopt, is_foreign_server
    from plugport.serving.intake import Intake
    from plugport.serving.interface import LoopServer
    from plugport.serving.listener import Listener
    from plugport.serving.membership import has_periodic_work, not_each_turn
    from plugport.serving.preludes import PendingConnections, Prelude, Steps, peek, receiver_of
    from plugport.serving.server import BaseServer
    from plugport.serving.service import Service, build_server
    from plugport.serving.url import MAX_UNIX_PATH, Url, format_client, format_url, parse_url, resolve_url
else:
    from plugport._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "plugport.bridges": (
                "adapt",
                "bridge_between",
            ),
            "plugport.bridges.coroutine": (
                "handler_lifespan",
                "serve_datagram",
                "serve_stream",
            ),
            "plugport.bridges.greenlets": ("SwitchedProtocol",),
            "plugport.bridges.tls.sockets": (
                "SecuredSocketMixIn",
                "do_handshake",
                "suppress_ragged_eof",
            ),
            "plugport.bridges.watching": ("ConnectionWatch",),
            "plugport.loop.loop": ("ServerLoop",),
            "plugport.loop.poller": (
                "EpollPoller",
                "blocking_poller",
                "make_poller",
            ),
            "plugport.serving.accounting": (
                "is_record_keeping",
                "record_keeping",
            ),
            "plugport.serving.adoption": (
                "adopt",
                "is_foreign_server",
            ),
            "plugport.serving.intake": ("Intake",),
            "plugport.serving.interface": ("LoopServer",),
            "plugport.serving.listener": ("Listener",),
            "plugport.serving.preludes": (
                "PendingConnections",
                "Prelude",
                "Steps",
                "peek",
                "receiver_of",
            ),
            "plugport.serving.membership": (
                "has_periodic_work",
                "not_each_turn",
            ),
            "plugport.serving.server": ("BaseServer",),
            "plugport.serving.service": (
                "Service",
                "build_server",
            ),
            "plugport.serving.url": (
                "MAX_UNIX_PATH",
                "Url",
                "format_client",
                "format_url",
                "parse_url",
                "resolve_url",
            ),
        },
    )

__all__ = [
    "MAX_UNIX_PATH",
    "BaseServer",
    "ConnectionWatch",
    "EpollPoller",
    "Intake",
    "Listener",
    "LoopServer",
    "PendingConnections",
    "Prelude",
    "SecuredSocketMixIn",
    "ServerLoop",
    "Service",
    "Steps",
    "SwitchedProtocol",
    "Url",
    "adapt",
    "adopt",
    "blocking_poller",
    "bridge_between",
    "build_server",
    "do_handshake",
    "format_client",
    "format_url",
    "handler_lifespan",
    "has_periodic_work",
    "is_foreign_server",
    "is_record_keeping",
    "make_poller",
    "not_each_turn",
    "parse_url",
    "peek",
    "receiver_of",
    "record_keeping",
    "resolve_url",
    "serve_datagram",
    "serve_stream",
    "suppress_ragged_eof",
]
