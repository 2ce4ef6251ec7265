"""ASGIProtocol: serves an ASGI application on the connections of an event loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from plugport import Help, RequestContext
from plugport.contracts import Server

from plugport_http.applications import check_prefix, load_application
from plugport_http.asgi.exchange import Exchange
from plugport_http.asgi.flowcontrol import FlowControl
from plugport_http.asgi.interface import ASGIApplication, State
from plugport_http.asgi.lifespan import Lifespan, LifespanMode
from plugport_http.asgi.scope import connection_scope, http_scope, websocket_scope
from plugport_http.engine import HTTPError, Request
from plugport_http.protocol import HTTPProtocol

if TYPE_CHECKING:
    from plugport_http.asgi.websocket import WebSocketSession

__all__ = ["ASGIProtocol"]

#: An eager task begins at once and saves a turn of the loop. (asyncio.Task, Python 3.12)
_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class ASGIProtocol(HTTPProtocol):
    """Serves an ASGI 3 application: its lifespan, requests and WebSockets."""

    style: ClassVar[str] = "async"
    transports: ClassVar[frozenset[str]] = frozenset({"stream"})
    #: Applications may keep state in memory, and their tasks belong to one loop.
    shared_state: ClassVar[bool] = True

    app: Annotated[
        str | None, Help("the ASGI application: package.module:attribute or path/to/file.py:attribute")
    ] = None
    root_path: Annotated[str, Help("path prefix at which the application is mounted")] = ""
    lifespan: Annotated[
        LifespanMode, Help("use of the lifespan protocol (auto: if the application supports it)")
    ] = "auto"
    websocket_max_size: Annotated[
        int | None, Help("maximum bytes of a WebSocket message (null: no limit)", gt=0)
    ] = 1048576
    websocket_compression: Annotated[
        bool, Help("compression of WebSocket messages, if the client supports it")
    ] = True
    websocket_ping_interval: Annotated[
        float | None,
        Help("seconds between pings; a client that does not answer is disconnected (null: no pings)", gt=0),
    ] = 20.0

    application: ClassVar[ASGIApplication | None] = None

    server: Server
    _application: ASGIApplication
    _request_context: RequestContext
    _state: State

    @classmethod
    def check_options(cls) -> None:
        """Import the application. Raises OptionError if that fails, or another option is wrong."""
        super().check_options()
        check_prefix("root_path", cls.root_path)
        if cls.app is not None or cls.application is None:
            cls.application = staticmethod(load_application(cls.app, "ASGI"))

    @classmethod
    @asynccontextmanager
    async def serving(cls, servers: Sequence[Server]) -> AsyncIterator[None]:
        """Run the application's lifespan while the servers run."""
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
        """Return the protocol of a connection."""
        self = super().for_request(context)
        self.server, self._request_context = context.server, context
        self._state = context.server.state.asgi
        return self

    def __init__(self) -> None:
        super().__init__()
        self.flow = FlowControl()
        #: Whether the client has ended its side; it may have disconnected.
        self.half_closed = False
        self._exchange: Exchange | None = None  # of the current request
        self._running: set[Exchange | asyncio.Task[None]] = set()
        self._all_ended: asyncio.Future[None] | None = None
        self._websocket: WebSocketSession | None = None

    # Requests ---------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Prepare the parts of the scope that all requests of the connection share."""
        application = type(self).application
        assert application is not None
        self._application = application
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
        task = asyncio.Task(exchange.run(self._application, scope), loop=self._loop, **_EAGER)
        if exchange in self._running:  # else the eager task is done already
            exchange.task = task

    def request_chunk(self) -> None:
        """Read the next piece of the body."""
        self.read_body(True)
        self._check_read_ahead()

    def body_received(self, data: bytes) -> None:
        """Pass a piece of the body to the application, and pause until it calls receive() again."""
        self.read_body(False)
        if self._exchange is not None:
            self._exchange.put_chunk(data)

    def body_ended(self) -> None:
        """Pass the end of the body to the application."""
        if self._exchange is not None:
            self._exchange.put_body_end()

    def send_error(self, error: HTTPError, *headers: tuple[bytes, bytes]) -> None:
        """Answer the current request with an error; its application sees a disconnect."""
        super().send_error(error, *headers)
        if self._exchange is not None:
            self._exchange.disconnect()

    def exchange_ended(self, exchange: Exchange | asyncio.Task[None]) -> None:
        """Record the end of a call of the application."""
        self._running.discard(exchange)
        if not self._running and self._all_ended is not None and not self._all_ended.done():
            self._all_ended.set_result(None)

    # The connection ---------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Pass received bytes to the engine or the WebSocket."""
        if self._websocket is not None:
            self._websocket.data_received(data)
        else:
            super().data_received(data)

    def eof_received(self) -> bool:
        """Let receive() return http.disconnect; the response goes on, as the client may still read it."""
        self.half_closed = True
        if self._websocket is not None:
            self._websocket.eof_received()
            return False
        keep_open = super().eof_received()
        if self._exchange is not None:
            self._exchange.wake()
        return keep_open

    def _end(self) -> None:
        if self._websocket is None:  # else the connection goes on as a WebSocket
            super()._end()

    def pause_writing(self) -> None:
        """Make the application wait in send()."""
        self.flow.paused = True
        super().pause_writing()
        if self._websocket is not None:
            self._websocket.writing_changed()

    def resume_writing(self) -> None:
        """Let the application go on."""
        self.flow.resume()
        if self._websocket is None:
            super().resume_writing()
        else:
            self.can_write = True
            self._deadline = None
            self._websocket.writing_changed()

    def disconnected(self, error: Exception | None) -> None:
        """Let the application see a disconnect."""
        if self._websocket is not None:
            self._websocket.connection_lost()
        if self._exchange is not None:
            self._exchange.disconnect()
        self.flow.resume()

    async def wait_closed(self) -> None:
        """Wait until all calls of the application have ended; cancel them if this is cancelled."""
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
        """Make the next request the last one, or close the WebSocket."""
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            pass  # the loop is closed, and so is the connection

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
        # Imported late: websockets is a large library that most services do not need.
        from plugport_http.asgi.websocket import WebSocketOptions, WebSocketSession

        options = WebSocketOptions(
            self.websocket_max_size, self.websocket_compression, self.websocket_ping_interval
        )
        session = self._websocket = WebSocketSession(self.transport, request, options, self.flow)
        rest = self.http.detach()
        scope = websocket_scope(self._scope, request, self._state)
        task = self._loop.create_task(session.run(self._application, scope))
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
