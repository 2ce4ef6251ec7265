"""ASGIProtocol: serves an ASGI application on a connection, on the event loop itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar, Self

from plugport import Help, RequestContext

from plugport_http.applications import check_prefix, load_application
from plugport_http.asgi.exchange import Exchange
from plugport_http.asgi.flowcontrol import FlowControl
from plugport_http.asgi.lifespan import Lifespan, LifespanMode
from plugport_http.asgi.scope import connection_scope, http_scope, websocket_scope
from plugport_http.engine import HTTPError, Request
from plugport_http.protocol import HTTPProtocol

__all__ = ["ASGIProtocol"]

#: A task that begins at once costs no turn of the loop. (asyncio.Task, 3.12)
_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class ASGIProtocol(HTTPProtocol):
    """Serves an ASGI 3 application: requests, WebSockets, and its lifespan around the server's."""

    style: ClassVar[str] = "async"
    transports: ClassVar[frozenset[str]] = frozenset({"stream"})
    #: The application may keep state in memory, and its tasks are those of one loop.
    shared_state: ClassVar[bool] = True

    app: Annotated[
        str | None, Help("the ASGI application: package.module:attribute or path/to/file.py:attribute")
    ] = None
    root_path: Annotated[str, Help("path that the application is mounted at")] = ""
    lifespan: Annotated[
        LifespanMode, Help("whether the application has a lifespan (auto: unless it fails when it is asked)")
    ] = "auto"
    websocket_max_size: Annotated[int | None, Help("bytes of a message (null: no limit)", gt=0)] = 1048576
    websocket_compression: Annotated[bool, Help("compress messages, where the client can")] = True
    websocket_ping_interval: Annotated[
        float | None, Help("seconds between pings; a client that answers none is cut (null: no pings)", gt=0)
    ] = 20.0

    application: ClassVar[Callable[..., Any] | None] = None

    server: Any
    _request_context: RequestContext
    _state: dict[str, Any]

    @classmethod
    def check_options(cls) -> None:
        """Import the application. Raises OptionError if that fails, or another option is wrong."""
        super().check_options()
        check_prefix("root_path", cls.root_path)
        if cls.app is not None or cls.application is None:
            cls.application = staticmethod(load_application(cls.app, "ASGI"))

    @classmethod
    @asynccontextmanager
    async def serving(cls, servers: Sequence[Any]) -> AsyncIterator[None]:
        """Have the application's lifespan around that of the servers."""
        assert cls.application is not None
        lifespan = Lifespan(cls.application, cls.lifespan)
        for server in servers:
            server.state.asgi = lifespan.state
        await lifespan.start()
        try:
            yield
        finally:
            await lifespan.stop()

    @classmethod
    def for_request(cls, context: RequestContext) -> Self:
        """Make the protocol of a connection."""
        self = super().for_request(context)
        self.server, self._request_context = context.server, context
        self._state = context.server.state.asgi
        return self

    def __init__(self) -> None:
        super().__init__()
        self.gate = FlowControl()
        #: Whether the client has said that it sends no more; it may have gone.
        self.half_closed = False
        self._exchange: Exchange | None = None  # that of the request at hand
        self._running: set[Exchange | asyncio.Task[None]] = set()
        self._all_ended: asyncio.Future[None] | None = None
        self._websocket: Any = None

    # Requests ---------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Keep what all requests of the connection have in common."""
        self._loop = asyncio.get_running_loop()
        self._scope = connection_scope(
            transport.get_extra_info("socket"),
            transport.get_extra_info("ssl_object"),
            self._request_context.client_address,
            self.root_path,
        )
        super().connection_made(transport)

    def request_received(self, request: Request) -> None:
        """Call the application for the request."""
        if request.upgrade and self._is_websocket(request):
            self._open_websocket(request)
            return
        exchange = self._exchange = Exchange(self, request)
        self._running.add(exchange)
        scope = http_scope(self._scope, request, self._state)
        task = asyncio.Task(exchange.run(self.application, scope), loop=self._loop, **_EAGER)  # type: ignore[arg-type]
        if exchange in self._running:  # else it has ended at once
            exchange.task = task

    def request_chunk(self) -> None:
        """Have the next piece of the body come."""
        self.read_body(True)
        self._check_read_ahead()

    def body_received(self, data: bytes) -> None:
        """Give the application a piece of the body; the next one comes when it wants it."""
        self.read_body(False)
        if self._exchange is not None:
            self._exchange.put_chunk(data)

    def body_ended(self) -> None:
        """Tell the application that it has the whole body."""
        if self._exchange is not None:
            self._exchange.put_body_end()

    def send_error(self, error: HTTPError, *headers: tuple[bytes, bytes]) -> None:
        """Refuse the request at hand; its application hears that the client is gone."""
        super().send_error(error, *headers)
        if self._exchange is not None:
            self._exchange.disconnect()

    def exchange_ended(self, exchange: Exchange | asyncio.Task[None]) -> None:
        """Take note that a call of the application has come to its end."""
        self._running.discard(exchange)
        if not self._running and self._all_ended is not None and not self._all_ended.done():
            self._all_ended.set_result(None)

    # The connection ---------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what has come, for the request or the WebSocket."""
        if self._websocket is not None:
            self._websocket.data_received(data)
        else:
            super().data_received(data)

    def eof_received(self) -> bool:
        """Tell an application that waits for it; what it sends is sent, for the client may yet read it."""
        self.half_closed = True
        if self._websocket is not None:
            self._websocket.eof_received()
            return False
        keep_open = super().eof_received()
        if self._exchange is not None:
            self._exchange.wake()
        return keep_open

    def _end(self) -> None:
        if self._websocket is None:  # else it goes on, as another protocol
            super()._end()

    def pause_writing(self) -> None:
        """Have the application wait before it goes on sending."""
        self.gate.paused = True
        super().pause_writing()
        if self._websocket is not None:
            self._websocket.writing_changed()

    def resume_writing(self) -> None:
        """Let it go on."""
        self.gate.open()
        if self._websocket is None:
            super().resume_writing()
        else:
            self.can_write = True
            self._deadline = None
            self._websocket.writing_changed()

    def disconnected(self, error: Exception | None) -> None:
        """Tell the application that the client is gone."""
        if self._websocket is not None:
            self._websocket.connection_lost()
        if self._exchange is not None:
            self._exchange.disconnect()
        self.gate.open()

    async def wait_closed(self) -> None:
        """Wait for the application to come to an end with what it was called for."""
        while self._running:
            self._all_ended = self._loop.create_future()
            try:
                await self._all_ended
            except asyncio.CancelledError:
                for running in tuple(self._running):
                    task = running.task if isinstance(running, Exchange) else running
                    if task is not None:
                        task.cancel()
                raise

    def drain(self) -> None:
        """The server drains: have the next request be the last, and end the WebSocket."""
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            pass  # the loop has ended, and the connection with it

    def _drain(self) -> None:
        if self._websocket is not None:
            self._websocket.drain()
        else:
            self.http.keep_alive = False
            self.shorten_wait()

    # WebSockets -------------------------------------------------------------------------------------

    def _is_websocket(self, request: Request) -> bool:
        names = [name.strip().lower() for name in request.upgrade.split(b",")]
        return b"websocket" in names and request.method == "GET" and not request.has_body

    def _open_websocket(self, request: Request) -> None:
        # Late: it is a large library, and most services have no use for it.
        from plugport_http.asgi.websocket import WebSocketOptions, WebSocketSession

        options = WebSocketOptions(
            self.websocket_max_size, self.websocket_compression, self.websocket_ping_interval
        )
        session = self._websocket = WebSocketSession(self.transport, request, options, self.gate)
        rest = self.http.detach()
        scope = websocket_scope(self._scope, request, self._state)
        task = self._loop.create_task(session.run(self.application, scope))  # type: ignore[arg-type]
        self._running.add(task)
        task.add_done_callback(self._websocket_ended)
        if rest:
            session.data_received(rest)

    def _websocket_ended(self, task: asyncio.Task[None]) -> None:
        self.exchange_ended(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            context = self._request_context
            self.server.handle_failure(context.request, context.client_address, error)
