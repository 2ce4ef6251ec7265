"""Greenlets: blocking handlers under a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from clients import connect, read_all
from patience import Call

from plugport import BaseRequestHandler, RequestContext
from plugport_builtins.concurrency.select import SelectMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer


def test_a_handler_may_bring_a_protocol_instead(serve: Callable[[Any], Call]) -> None:
    class Protocol(asyncio.Protocol):
        def __init__(self, name: str) -> None:
            self.name = name.encode()

        def connection_made(self, transport: Any) -> None:
            transport.write(self.name)
            transport.close()

    class Handler(BaseRequestHandler):
        @classmethod
        def as_protocol(cls, context: RequestContext) -> Protocol:
            return Protocol(f"{cls.__name__} {context.server.scheme}")

        def handle(self) -> None:
            self.request.sendall(b"blocking")

    answers = []
    for mixin in (SelectMixIn, ThreadingMixIn):
        server = type("Server", (mixin, TCPServer), {})(("127.0.0.1", 0), Handler)
        serve(server)
        with connect(server) as client:
            answers.append(read_all(client))
    assert answers == [b"Handler tcp", b"blocking"]
