"""What a WebSocket is to be like: by the operator's options, and by what the client offers."""

from __future__ import annotations

from typing import NamedTuple

from plugport_http.engine import Request

__all__ = ["WebSocketOptions", "offered_subprotocols"]


class WebSocketOptions(NamedTuple):
    """``max_size``: bytes of a message; ``compression``: offer permessage-deflate; ``ping_interval``: s."""

    max_size: int | None
    compression: bool
    ping_interval: float | None


def offered_subprotocols(request: Request) -> list[str]:
    """Return the subprotocols that the client offers, in its order."""
    value = request.fields.get(b"sec-websocket-protocol", b"").decode("latin-1")
    return [name for part in value.split(",") if (name := part.strip())]
