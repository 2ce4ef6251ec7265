"""async -> blocking: an event loop for each request, in the thread of the request.

A strategy with its own event loop calls serve_stream(), serve_datagram() and handler_lifespan().
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar, cast

from plugport.bridges.inline import protocol_factory
from plugport.bridges.loop_transports import with_peername
from plugport.bridges.tls.eventloop import connect, record_traffic
from plugport.bridges.tls.failures import as_connection_error
from plugport.bridges.watching import ConnectionWatch
from plugport.contracts.interfaces import Buffer, ClientAddress, DatagramRequest, Handler
from plugport.contracts.requests import RequestContext, Server
from plugport.contracts.traits import handler_traits, unwrapped
from plugport.transports import send_datagram

if TYPE_CHECKING:
    import socket

__all__ = [
    "handler_lifespan",
    "looped_datagrams",
    "looped_stream",
    "serve_datagram",
    "serve_stream",
]

_Request = TypeVar("_Request", "socket.socket", DatagramRequest)
_Lifespan = Callable[[list[Server]], AbstractAsyncContextManager[object]]
#: Runs an async handler on a request.
_Serve = Callable[[Handler, _Request, RequestContext], Coroutine[object, object, None]]

#: How many times a connection is checked for activity in one idle_timeout.
_IDLE_CHECKS = 4


@asynccontextmanager
async def handler_lifespan(servers: Sequence[Server], handler: Handler | None = None) -> AsyncIterator[None]:
    """Enter what the async handlers of *servers* declare as ``serving``; leave it at the end.

    A handler class may have a class method ``serving(servers)`` that returns an async context manager. It is
    entered once for all servers of that handler, on their loop and before they take requests, and left when
    their requests have ended. If entering it raises, a StartupError for example, the servers do not serve.
    *handler* is the class if it is not the servers' RequestHandlerClass.
    """
    lifespans: dict[int, tuple[_Lifespan, list[Server]]] = {}
    for server in servers:
        target = unwrapped(handler or server.RequestHandlerClass)
        lifespan = handler_traits(target).serving if isinstance(target, type) else None
        if lifespan is not None:
            lifespans.setdefault(id(target), (lifespan, []))[1].append(server)
    async with AsyncExitStack() as stack:
        for lifespan, its_servers in lifespans.values():
            await stack.enter_async_context(lifespan(its_servers))
        yield


async def serve_stream(
    handler: Handler, request: socket.socket, context: RequestContext, idle_timeout: float | None = None
) -> None:
    """Run an async handler on a connection; when it returns, send the unsent data, and close.

    *idle_timeout*: abort the connection after so many seconds without traffic, for a strategy that does not
    do that itself. Raises what the handler raises.
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


async def _serve(handler: Handler, request: socket.socket, context: RequestContext) -> None:
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
    idle_checks = 0
    while idle_checks < _IDLE_CHECKS:
        await asyncio.sleep(limit / _IDLE_CHECKS)
        idle_checks = 0 if context.active else idle_checks + 1
        context.active = False
    context.server.expire_request(context, f"it was idle for idle_timeout = {limit} s")


async def serve_datagram(handler: Handler, request: DatagramRequest, context: RequestContext) -> None:
    """Run an async handler on a datagram. Raises what it raises."""
    data, sock = request

    def reply(message: Buffer) -> None:
        send_datagram(sock, message, context.client_address)

    if isinstance(unwrapped(handler), type):
        handler = handler(context.client_address, context.server).handle
    await handler(data, reply)


# Readers and writers --------------------------------------------------------------------------


async def _serve_streams(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]],
    request: socket.socket,
    context: RequestContext,
    *,
    close: bool = False,
) -> None:
    reader = asyncio.StreamReader()
    protocol = _StreamsProtocol(reader, request, context)
    transport = await connect(lambda: protocol, request, context)
    writer = _Writer(with_peername(transport, context), protocol, reader, context)
    try:
        await handle(reader, writer)
    except asyncio.CancelledError:
        transport.abort()
        raise
    except Exception:
        # The socket must be closed after the transport, because the loop still watches it.
        transport.close()
        await protocol.lost
        raise
    if close:
        transport.close()
    # Another task may still use them, as under asyncio.start_server(): the connection is closed after that.
    del reader, writer
    await protocol.lost


class _Writer(asyncio.StreamWriter):
    """Marks the request as active, and closes the connection when the writer is freed."""

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.StreamReaderProtocol,
        reader: asyncio.StreamReader,
        context: RequestContext,
    ) -> None:
        super().__init__(transport, protocol, reader, asyncio.get_running_loop())
        self._context = context

    def write(self, data: Buffer) -> None:
        self._context.active = True
        super().write(data)

    async def drain(self) -> None:
        await super().drain()
        self._context.active = True  # the client has read

    def __del__(self, *unused: object) -> None:
        self.transport.close()


class _StreamsProtocol(asyncio.StreamReaderProtocol):
    """The protocol of a reader and writer; records the traffic before asyncio closes the socket."""

    def __init__(self, reader: asyncio.StreamReader, request: socket.socket, context: RequestContext) -> None:
        super().__init__(reader)
        self._request = request
        self._context = context
        #: Done when the connection is lost.
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._context.server.transport_made(cast("asyncio.Transport", transport), self._context)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._context.active = True
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        record_traffic(self._context, self._request)
        super().connection_lost(exc if exc is None else as_connection_error(exc))
        if not self.lost.done():
            self.lost.set_result(None)


# Protocols ------------------------------------------------------------------------------------


class _AwaitedWatch(ConnectionWatch):
    """Has its task wait for the end of the connection, and raise the last error."""

    __slots__ = ("_error", "lost")

    def __init__(self, context: RequestContext, request: socket.socket) -> None:
        super().__init__(context, request)
        self._error: Exception | None = None
        #: Done when the connection is lost.
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def failed(self, error: Exception) -> None:
        """Keep the error."""
        self._error = error

    def ended(self) -> None:
        """Let the task continue."""
        if self.lost.done():
            return  # the task was cancelled
        if self._error is not None:
            self.lost.set_exception(self._error)
        else:
            self.lost.set_result(None)


#: Cached: to read a handler's traits for each request takes too long.
_protocol_factory = lru_cache(maxsize=64)(protocol_factory)


async def _serve_protocol(handler: Handler, request: socket.socket, context: RequestContext) -> None:
    watch = _AwaitedWatch(context, request)
    protocol = _protocol_factory(handler)(context)
    await watch.connect(protocol)
    try:
        await watch.lost
    finally:
        wait_closed: Callable[[], Awaitable[object]] | None = getattr(protocol, "wait_closed", None)
        if wait_closed is not None:
            await wait_closed()


# A loop for each request ----------------------------------------------------------------------


def looped_stream(handler: Handler) -> Callable[[socket.socket, ClientAddress, Server], None]:
    """Return a blocking handler of connections, from an async one."""

    async def serve(handler: Handler, request: socket.socket, context: RequestContext) -> None:
        await serve_stream(handler, request, context, context.server.idle_timeout)

    return _looped(serve, handler)


def looped_datagrams(handler: Handler) -> Callable[[DatagramRequest, ClientAddress, Server], None]:
    """Return a blocking handler of datagrams, from an async one."""
    return _looped(serve_datagram, handler)


def _looped(serve: _Serve[_Request], handler: Handler) -> Callable[[_Request, ClientAddress, Server], None]:
    async def serve_in_lifespan(handler: Handler, request: _Request, context: RequestContext) -> None:
        async with handler_lifespan([context.server], handler):
            await serve(handler, request, context)

    # What a handler starts on one loop can't be used on another: each loop has a lifespan of its own.
    run = serve if handler_traits(handler).serving is None else serve_in_lifespan

    def handle(request: _Request, client_address: ClientAddress, server: Server) -> None:
        context = server.active_requests.get(id(request)) or RequestContext(server, request, client_address)
        with asyncio.Runner() as runner:
            try:
                runner.run(run(handler, request, context))
            except asyncio.CancelledError as error:
                raise ConnectionAbortedError("the handler was cancelled") from error

    return handle
