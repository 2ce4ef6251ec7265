"""async -> blocking: an event loop for each request, in the thread that has it.

A strategy with an event loop of its own calls serve_stream(), serve_datagram() and handler_lifespan().
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from plugport.bridges.tls.eventloop import connect, record_traffic
from plugport.bridges.tls.failures import as_connection_error
from plugport.contracts.requests import RequestContext
from plugport.contracts.traits import unwrapped
from plugport.transports import override_methods, send_datagram, with_peername

__all__ = [
    "handler_lifespan",
    "looped_datagrams",
    "looped_stream",
    "serve_datagram",
    "serve_stream",
]

#: How often a connection is looked at in the time of one idle_timeout.
_LOOKS = 4


@asynccontextmanager
async def handler_lifespan(servers: Sequence[Any], handler: Any = None) -> AsyncIterator[None]:
    """Be with *servers* as their async handlers want it: what these must start first, and end last.

    A handler class may have a class method ``serving(servers)`` that returns an async context
    manager. It is entered once for all servers of that handler, on their loop and before they
    take requests, and left when their requests have ended. What it raises when it is entered, a
    StartupError say, keeps the servers from serving. *handler*: the class, where it is not the
    servers' RequestHandlerClass.
    """
    having: dict[int, tuple[Any, list[Any]]] = {}
    for server in servers:
        target = unwrapped(handler or server.RequestHandlerClass)
        if isinstance(target, type) and hasattr(target, "serving"):
            having.setdefault(id(target), (target, []))[1].append(server)
    async with AsyncExitStack() as stack:
        for target, its_servers in having.values():
            await stack.enter_async_context(target.serving(its_servers))
        yield


async def serve_stream(
    handler: Any, request: Any, context: RequestContext, idle_timeout: float | None = None
) -> None:
    """Run an async handler on a connection; when it returns, send what is unsent, and close.

    *idle_timeout*: cut it after so many seconds without a byte either way, for a strategy that
    does not see to that itself. Raises what the handler raises.
    """
    request.setblocking(False)
    serving = _serve(handler, request, context)
    if idle_timeout is None:
        await serving
        return
    watch = asyncio.create_task(_watch_idle(context, idle_timeout))
    try:
        await serving
    finally:
        watch.cancel()


async def _serve(handler: Any, request: Any, context: RequestContext) -> None:
    inner = unwrapped(handler)
    if not isinstance(inner, type):
        await _serve_streams(handler, request, context)
    elif issubclass(inner, asyncio.BaseProtocol):
        await _serve_protocol(handler, request, context)
    else:
        await _serve_streams(
            handler(context.client_address, context.server).handle, request, context, close=True
        )


async def _watch_idle(context: RequestContext, limit: float) -> None:
    silent = 0
    while silent < _LOOKS:
        await asyncio.sleep(limit / _LOOKS)
        silent = 0 if context.active else silent + 1
        context.active = False
    context.server.expire_request(context, f"it was idle for idle_timeout = {limit} s")


async def serve_datagram(handler: Any, request: Any, context: RequestContext) -> None:
    """Run an async handler on a datagram. Raises what it raises."""
    data, sock = request

    def reply(message: bytes) -> None:
        send_datagram(sock, message, context.client_address)

    if isinstance(unwrapped(handler), type):
        handler = handler(context.client_address, context.server).handle
    await handler(data, reply)


async def _serve_streams(
    handle: Callable[..., Any], request: Any, context: RequestContext, *, close: bool = False
) -> None:
    reader = asyncio.StreamReader()
    protocol = _StreamsProtocol(reader, request, context)
    transport = await connect(lambda: protocol, request, context)
    writer = _Writer(with_peername(transport, context), protocol, reader, asyncio.get_running_loop())
    writer._context = context
    try:
        await handle(reader, writer)
    except asyncio.CancelledError:
        transport.abort()
        raise
    except Exception:
        # The socket is closed after the transport, which has it in the loop's table.
        transport.close()
        await protocol.lost
        raise
    if close:
        transport.close()
    # A task that a callback has left behind may go on with them, as under asyncio.start_server.
    del reader, writer
    await protocol.lost


class _Writer(asyncio.StreamWriter):
    """Closes its connection when nobody holds it any more; notes that it is not idle."""

    _context: RequestContext

    def write(self, data: Any) -> None:
        """Write, and note it."""
        self._context.active = True
        super().write(data)

    async def drain(self) -> None:
        """Drain, and note that the client has taken what there was."""
        await super().drain()
        self._context.active = True

    def __del__(self, *unused: object) -> None:
        self.transport.close()


class _StreamsProtocol(asyncio.StreamReaderProtocol):
    """The protocol behind a reader and writer; notes the traffic before asyncio closes the socket."""

    def __init__(self, reader: asyncio.StreamReader, request: Any, context: RequestContext) -> None:
        super().__init__(reader)
        self._request = request
        self._context = context
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Tell the server of the transport."""
        self._context.server.transport_made(transport, self._context)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Note that the connection is not idle."""
        self._context.active = True
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the traffic, and that it is over."""
        record_traffic(self._context, self._request)
        super().connection_lost(exc if exc is None else as_connection_error(exc))
        if not self.lost.done():
            self.lost.set_result(None)


async def _serve_protocol(handler: Any, request: Any, context: RequestContext) -> None:
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for_request = getattr(unwrapped(handler), "for_request", None)
    protocol = handler() if for_request is None else for_request(context)
    made, connection_lost = protocol.connection_made, protocol.connection_lost

    def note_making(transport: Any) -> None:
        context.server.transport_made(transport, context)
        try:
            made(with_peername(transport, context))
        except Exception as error:
            context.server.handle_failure(request, context.client_address, error)
            transport.abort()

    def note_loss(error: Exception | None) -> None:
        record_traffic(context, request)
        try:
            connection_lost(error)
        except Exception as failure:
            error = failure
        if not lost.done():
            lost.set_exception(as_connection_error(error)) if error is not None else lost.set_result(None)

    override_methods(protocol, connection_made=note_making, connection_lost=note_loss)
    if context.server.idle_timeout is not None:
        receive = protocol.data_received

        def note_data(data: bytes) -> None:
            context.active = True
            receive(data)

        override_methods(protocol, data_received=note_data)
    await connect(lambda: protocol, request, context)
    try:
        await lost
    finally:
        wait_closed = getattr(protocol, "wait_closed", None)
        if wait_closed is not None:
            await wait_closed()


def looped_stream(handler: Any) -> Callable[[Any, Any, Any], None]:
    """Return a blocking handler of connections, from an async one."""

    def serve(handler: Any, request: Any, context: RequestContext) -> Any:
        return serve_stream(handler, request, context, context.server.idle_timeout)

    return _looped(serve, handler)


def looped_datagrams(handler: Any) -> Callable[[Any, Any, Any], None]:
    """Return a blocking handler of datagrams, from an async one."""
    return _looped(serve_datagram, handler)


def _looped(serve: Callable[..., Any], handler: Any) -> Callable[[Any, Any, Any], None]:
    async def attend(handler: Any, request: Any, context: RequestContext) -> None:
        async with handler_lifespan([context.server], handler):
            await serve(handler, request, context)

    # What the handler begins on a loop is no use on another: each has its own.
    run = attend if hasattr(unwrapped(handler), "serving") else serve

    def handle(request: Any, client_address: Any, server: Any) -> None:
        context = server.active_requests.get(id(request)) or RequestContext(server, request, client_address)
        with asyncio.Runner() as runner:
            try:
                runner.run(run(handler, request, context))
            except asyncio.CancelledError as error:
                raise ConnectionAbortedError("the handler was cancelled") from error

    return handle
