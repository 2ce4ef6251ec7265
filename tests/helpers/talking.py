"""A connection that a handler and its client speak over, turn by turn."""

from __future__ import annotations

import queue
import socket
import struct
from collections.abc import Callable
from typing import Any

from clients import connect
from patience import PATIENCE

Handler = Callable[[Any], Any]

Talk = Callable[[Handler], "Talking"]

LARGE = bytes(range(256)) * 16384


class Talking:
    """A client, and what comes of the handler at the other end."""

    def __init__(self, server: Any, outcomes: queue.SimpleQueue[Any]) -> None:
        self.server = server
        self.client = connect(server)
        self._outcomes = outcomes

    def result(self) -> Any:
        """What the handler has returned or raised."""
        outcome = self._outcomes.get(timeout=PATIENCE)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def send(self, data: bytes) -> None:
        self.client.sendall(data)

    def end(self) -> None:
        self.client.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket.close(self.client)


def send_for_ever(connection: Any) -> None:
    while True:
        connection.sendall(LARGE)
