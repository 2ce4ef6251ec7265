"""AsyncioMixIn: requests on an asyncio event loop, in one thread; blocking handlers in a pool of threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, ClassVar

from plugport import Help, RequestContext, resolve_target
from plugport.contracts import StrategyTraits
from plugport.errors import OptionError, PlugportError
from plugport.serving import (
    Listener,
    as_connection_error,
    connect,
    deliver_memoryviews,
    handler_lifespan,
    record_keeping,
    record_traffic,
    serve_datagram,
    serve_stream,
)
from plugport.transports import override_methods, with_attributes, with_peername
from plugport_builtins.concurrency.asyncio_loop import AsyncioLoop
from plugport_builtins.concurrency.endpoint import EndpointMixIn
from plugport_builtins.concurrency.idle import IdleSweep
from plugport_builtins.concurrency.workers import WorkerPool

__all__ = ["AsyncioMixIn"]


class AsyncioMixIn(EndpointMixIn):
    """Runs protocols and coroutines on an event loop, and blocking handlers in threads beside it."""

    traits = StrategyTraits(
        drives={"protocol", "async", "blocking"}, parallel={"blocking"}, secures={"protocol", "async"}
    )

    loop_factory: Annotated[
        str | None, Help("what makes the event loop, as uvloop:new_event_loop (null: asyncio's)")
    ] = None
    max_workers: Annotated[int, Help("threads at most, for blocking handlers", gt=0)] = 32

    #: What makes the event loop; None: asyncio's. A strategy on another event loop says it here.
    new_event_loop: ClassVar[Callable[[], asyncio.AbstractEventLoop] | None] = None
    _pool: WorkerPool | None = None
    _idle_sweep: IdleSweep | None = None
    #: What runs on the loop, by the id() of the request's context.
    _tasks: dict[int, asyncio.Task[None]]

    @classmethod
    def check_options(cls) -> None:
        """Import the loop factory, and see that it makes event loops. Raises OptionError if not."""
        super().check_options()
        if cls.loop_factory is not None:
            cls.new_event_loop = staticmethod(_loop_factory(cls.loop_factory))

    @classmethod
    def serve_together(cls, servers: Sequence[Any], poll_interval: float = 0.5) -> None:
        """Serve *servers* on one event loop, in this thread, until each has stopped."""
        with asyncio.Runner(loop_factory=servers[0].new_event_loop) as runner:
            runner.run(_serve(servers, poll_interval))

    def has_room(self) -> bool:
        """Whether one more request may begin; a blocking one needs a thread."""
        return (self._pool is None or self._pool.has_room()) and super().has_room()

    @record_keeping
    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the request: on the loop, or in a thread."""
        context = self.active_requests[id(request)]
        style = self.handler_style
        if self.idle_timeout is not None and self._idle_sweep is None:
            self._idle_sweep = IdleSweep(self)
        if style == "blocking":
            if self._pool is None:
                self._pool = WorkerPool(self.max_workers, 0, self.notify_room)
            self._pool.submit(self.run_request, request, client_address)
        elif style == "async":
            self._start(context, self._run_async(context))
        elif isinstance(request, tuple):
            self.receive_datagram(request, client_address)
        else:
            request.setblocking(False)
            self._start(context, self._connect(context))

    def _start(self, context: RequestContext, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        key = id(context)
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._tasks.pop(key, None))

    async def _run_async(self, context: RequestContext) -> None:
        request, client_address = context.request, context.client_address
        serve = serve_datagram if isinstance(request, tuple) else serve_stream
        try:
            await serve(self.RequestHandlerClass, request, context)
        except Exception as error:
            self.handle_failure(request, client_address, error)
        except asyncio.CancelledError as error:
            self.fail_request(request, error)
            raise
        finally:
            self.conclude_request(request)

    async def _connect(self, context: RequestContext) -> None:
        request, client_address = context.request, context.client_address
        try:
            protocol: Any = self.RequestHandlerClass(context)
            watched = _watched(protocol, self, context)
            await connect(lambda: watched, request, context)
        except Exception as error:
            self.handle_failure(request, client_address, error)
            self.conclude_request(request)
        except asyncio.CancelledError as error:
            self.fail_request(request, error)
            self.conclude_request(request)
            raise

    def transport_made(self, transport: Any, context: RequestContext) -> None:
        """Keep the transport of a connection."""
        context.transport = transport

    def abort_request(self, context: RequestContext, *, force: bool = False) -> None:
        """Abort the connection's transport; with *force*, cancel the coroutine that does not mind."""
        task = self._tasks.get(id(context))
        if force and task is not None:
            task.cancel()
        super().abort_request(context, force=force)

    def handle_request(self) -> None:
        """Not to be had: requests live on an event loop, which serve_forever() runs."""
        raise RuntimeError("the asyncio strategy has no handle_request(); use serve_forever()")

    def server_close(self) -> None:
        """Take no more requests, wait for the threads, close."""
        self.stop_listening()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(wait=getattr(self, "block_on_close", True))
        super().server_close()


def _loop_factory(text: str) -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = resolve_target(text)
    except PlugportError as error:
        raise OptionError(f"loop_factory: {error}") from error
    try:
        made = factory()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise OptionError(f"loop_factory: {text!r} makes no event loop: {reason}") from error
    if not isinstance(made, asyncio.AbstractEventLoop):
        raise OptionError(f"loop_factory: {text!r} makes no event loop: it returns {made!r}")
    made.close()
    return factory


async def _serve(servers: Sequence[Any], poll_interval: float) -> None:
    asyncio.get_running_loop().set_exception_handler(_on_loop_exception)
    async with handler_lifespan(servers):
        await _serve_attended(servers, poll_interval)


async def _serve_attended(servers: Sequence[Any], poll_interval: float) -> None:
    loop = AsyncioLoop(poll_interval)
    try:
        for server in servers:
            server._tasks = {}
            loop.add(Listener(loop, server, server.serving(loop.wake)))
        await loop.run()
    finally:
        loop.close()
        try:
            await _end_requests(servers)
        finally:
            loop.end_sessions()


async def _end_requests(servers: Sequence[Any]) -> None:
    """End what shutdown() left on the loop: nobody would go on with it."""
    tasks = [task for server in servers for task in server._tasks.values()]
    for server in servers:
        server._idle_sweep = None
        if server.handler_style != "blocking":
            server.abort_requests(force=True)
    await asyncio.gather(*tasks, return_exceptions=True)
    # connection_lost() comes a turn after abort(), or some, where something is to be cancelled before.
    for _ in range(6):
        await asyncio.sleep(0)


def _on_loop_exception(loop: asyncio.AbstractEventLoop, info: dict[str, Any]) -> None:
    if "transport" not in info and "protocol" not in info:
        loop.default_exception_handler(info)
    # else: connection_lost() brings the error, and the request's account has it


def _watched(protocol: Any, server: Any, context: RequestContext) -> Any:
    """Have *protocol* tell the server how it begins and ends, whatever class it is of."""
    made, lost = protocol.connection_made, protocol.connection_lost
    request, client_address = context.request, context.client_address

    def connection_made(transport: Any) -> None:
        context.transport = transport
        transport = with_peername(_watching_protocols(transport, server, context), context)
        try:
            made(transport)
        except Exception as error:
            server.handle_failure(request, client_address, error)
            transport.abort()

    def connection_lost(error: Exception | None) -> None:
        record_traffic(context, request)
        try:
            if error is not None:
                error = as_connection_error(error)
                server.handle_failure(request, client_address, error)
            lost(error)
        except Exception as failure:
            server.handle_failure(request, client_address, failure)
        finally:
            server.conclude_request(request)

    def guarded(method: Callable[[], None]) -> Callable[[], None]:
        # What these raise would be a message of the event loop's, and the connection would hang.
        def call() -> None:
            try:
                method()
            except Exception as error:
                server.handle_failure(request, client_address, error)
                if context.transport is not None:
                    context.transport.abort()

        return call

    hooks: dict[str, Callable[..., Any]] = {
        "connection_made": connection_made,
        "pause_writing": guarded(protocol.pause_writing),
        "resume_writing": guarded(protocol.resume_writing),
        "connection_lost": connection_lost,
    }
    if server.idle_timeout is not None:
        for name in ("data_received", "buffer_updated"):
            if hasattr(protocol, name):
                hooks[name] = _noting(getattr(protocol, name), context)
    override_methods(protocol, **hooks)
    return protocol


def _watching_protocols(transport: Any, server: Any, context: RequestContext) -> Any:
    """Have *transport* watch the protocol that it may be switched to."""
    set_protocol = transport.set_protocol

    def set_watched(protocol: Any) -> None:
        watched = _watched(protocol, server, context)
        if server.server_traits.secure and hasattr(watched, "get_buffer"):
            deliver_memoryviews(watched)
        set_protocol(watched)

    return with_attributes(transport, set_protocol=set_watched)


def _noting(receive: Callable[[Any], None], context: RequestContext) -> Callable[[Any], None]:
    def note(data: Any) -> None:
        context.active = True
        receive(data)

    return note
