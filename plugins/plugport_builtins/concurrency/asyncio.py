"""AsyncioMixIn: requests on an asyncio event loop, in one thread; blocking handlers in a pool of threads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, ClassVar, Self

from plugport import Help, RequestContext, resolve_target
from plugport.contracts import ClientAddress, Request, StrategyTraits, Transport
from plugport.errors import OptionError, PlugportError
from plugport.serving import (
    ConnectionWatch,
    Listener,
    handler_lifespan,
    record_keeping,
    serve_datagram,
    serve_stream,
)
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
        str | None, Help("factory of the event loop, as uvloop:new_event_loop (null: asyncio's)")
    ] = None
    max_workers: Annotated[int, Help("threads at most, for blocking handlers", gt=0)] = 32

    #: The factory of the event loop; None: asyncio's. A strategy on another event loop overrides it.
    new_event_loop: ClassVar[Callable[[], asyncio.AbstractEventLoop] | None] = None
    _pool: WorkerPool | None = None
    _idle_sweep: IdleSweep | None = None
    #: The tasks on the loop, by the id() of the request's record.
    _tasks: dict[int, asyncio.Task[None]]

    @classmethod
    def check_options(cls) -> None:
        """Import the loop factory. Raises OptionError if that fails, or it does not make event loops."""
        super().check_options()
        if cls.loop_factory is not None:
            cls.new_event_loop = staticmethod(_loop_factory(cls.loop_factory))

    @classmethod
    def serve_together(cls, servers: Sequence[Self], poll_interval: float = 0.5) -> None:
        """Serve *servers* on one event loop, in this thread, until each has stopped."""
        with asyncio.Runner(loop_factory=cls.new_event_loop) as runner:
            runner.run(_serve(servers, poll_interval))

    def has_room(self) -> bool:
        """Return whether one more request may begin; a blocking one needs a thread."""
        return (self._pool is None or self._pool.has_room()) and super().has_room()

    @record_keeping
    def process_request(self, request: Request, client_address: ClientAddress) -> None:
        """Start the request on the loop, or in a thread."""
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
            self._start(context, self._connect(context, request))

    def _start(self, context: RequestContext, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        key = id(context)
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._tasks.pop(key, None))

    async def _run_async(self, context: RequestContext) -> None:
        request, client_address = context.request, context.client_address
        try:
            if isinstance(request, tuple):
                await serve_datagram(self.RequestHandlerClass, request, context)
            else:
                await serve_stream(self.RequestHandlerClass, request, context)
        except Exception as error:
            self.handle_failure(request, client_address, error)
        except asyncio.CancelledError as error:
            self.fail_request(request, error)
            raise
        finally:
            self.conclude_request(request)

    async def _connect(self, context: RequestContext, request: socket.socket) -> None:
        try:
            await ConnectionWatch(context, request).connect(self.RequestHandlerClass(context))
        except Exception as error:
            self.handle_failure(request, context.client_address, error)
            self.conclude_request(request)
        except asyncio.CancelledError as error:
            self.fail_request(request, error)
            self.conclude_request(request)
            raise

    def transport_made(self, transport: Transport, context: RequestContext) -> None:
        """Keep the transport of a connection."""
        context.transport = transport

    def abort_request(self, context: RequestContext, *, force: bool = False) -> None:
        """Abort the connection's transport; with *force*, cancel its coroutine too."""
        task = self._tasks.get(id(context))
        if force and task is not None:
            task.cancel()
        super().abort_request(context, force=force)

    def handle_request(self) -> None:
        """Raise RuntimeError: requests need the event loop that serve_forever() runs."""
        raise RuntimeError("the asyncio strategy has no handle_request(); use serve_forever()")

    def server_close(self) -> None:
        """Stop listening, wait for the threads, then close."""
        self.stop_listening()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(wait=self.block_on_close)
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


async def _serve(servers: Sequence[AsyncioMixIn], poll_interval: float) -> None:
    asyncio.get_running_loop().set_exception_handler(_on_loop_exception)
    async with handler_lifespan(servers):
        await _serve_requests(servers, poll_interval)


async def _serve_requests(servers: Sequence[AsyncioMixIn], poll_interval: float) -> None:
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


async def _end_requests(servers: Sequence[AsyncioMixIn]) -> None:
    """End the requests that shutdown() left on the loop: no loop would continue them."""
    tasks = [task for server in servers for task in server._tasks.values()]
    for server in servers:
        server._idle_sweep = None
        if server.handler_style != "blocking":
            server.abort_requests(force=True)
    await asyncio.gather(*tasks, return_exceptions=True)
    # connection_lost() is called some turns of the loop after abort().
    for _ in range(6):
        await asyncio.sleep(0)


def _on_loop_exception(loop: asyncio.AbstractEventLoop, info: dict[str, object]) -> None:
    if "transport" not in info and "protocol" not in info:
        loop.default_exception_handler(info)
    # else: connection_lost() is called with the error, and the request record gets it
