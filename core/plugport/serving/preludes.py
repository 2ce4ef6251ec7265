"""Preludes: what must be read of an accepted connection before its request begins, and connections that wait.

A prelude is a generator function of the connection and the client's address. It takes the bytes that are
there, yields how many bytes it waits for when more must come, and returns the client's address, as the
request is to have it::

    def named(request, client_address):
        length = (yield from peek(request, 1))[0]
        name = yield from peek(request, 1 + length)
        request.recv(1 + length)
        return name[1:].decode(), client_address

A server's ``preludes()`` returns those that it has. They run one after the other in the serving loop, on a
socket that does not block, and take from it only their own bytes: the rest is the handler's. A prelude
raises PreludeError for a connection that is not as it must be, which is then rejected with that reason.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Generator, Sequence
from functools import partial
from time import monotonic
from typing import Protocol, TypeAlias

from plugport.contracts.interfaces import ClientAddress, Request, StreamRequest
from plugport.contracts.loops import READ, Loop, TimerHandle
from plugport.errors import PlugportError, PreludeError
from plugport.serving.interface import LoopServer

__all__ = ["PendingConnections", "Prelude", "Steps", "peek", "receiver_of"]

#: A prelude that runs: it yields numbers of bytes, and returns the client's address.
Steps: TypeAlias = Generator[int, None, ClientAddress]
Prelude: TypeAlias = Callable[[StreamRequest, ClientAddress], Steps]

#: Seconds between two checks of connections for which the poller can't wait.
_CHECK_INTERVAL = 0.05
_LOW_WATER: int | None = getattr(socket, "SO_RCVLOWAT", None)
#: The client has ended its side.
_READ_HANGUP: int = getattr(select, "POLLRDHUP", 0)


def peek(request: StreamRequest, size: int) -> Generator[int, None, bytes]:
    """Return the next *size* bytes of a connection, once they have come, and leave them there.

    For ``yield from`` in a prelude. Raises PreludeError if the connection has ended.
    """
    receive = receiver_of(request)
    while True:
        try:
            data: bytes | None = receive(size, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            data = None
        if data is not None and len(data) >= size > 0:
            return data
        if data == b"" or (data and _has_ended(request)):
            raise PreludeError("the client closed the connection before its request began")
        yield size


def receiver_of(request: StreamRequest) -> Callable[..., bytes]:
    """Return the plain recv() of a connection, by which a prelude takes bytes.

    Not that of a class over it: TLS, for example, has wrapped it and has not begun. A request of a class
    that is no subclass of socket.socket, a strategy's own, has a plain recv() itself.
    """
    return partial(socket.socket.recv if isinstance(request, socket.socket) else type(request).recv, request)


def _has_ended(request: StreamRequest) -> bool:
    """Return whether no more will come than is there: MSG_PEEK does not show an end behind bytes."""
    if not _READ_HANGUP:
        return False
    poll = select.poll()
    poll.register(request.fileno(), _READ_HANGUP)
    events = sum(events for _, events in poll.poll(0))
    return bool(events & _READ_HANGUP) and not events & select.POLLERR  # recv() reports a broken one


class Queue(Protocol):
    """What pending connections need of the intake that they belong to."""

    settled: int

    def append(self, request: Request, client_address: ClientAddress) -> None: ...
    def has_queued(self) -> bool: ...


class PendingConnection:
    """A connection whose preludes are not complete."""

    __slots__ = ("_all", "client_address", "deadline", "fd", "low_water", "request", "steps", "timeout")

    def __init__(
        self,
        pending: PendingConnections,
        request: StreamRequest,
        client_address: ClientAddress,
        deadline: float,
    ) -> None:
        self._all = pending
        self.request = request
        #: As far as it is known: each prelude may find another.
        self.client_address = client_address
        self.deadline = deadline
        self.fd: int = request.fileno()
        self.timeout: float | None = request.gettimeout()
        #: The bytes for which the poller waits (SO_RCVLOWAT).
        self.low_water = 1
        self.steps = self._run(pending.preludes)

    def _run(self, preludes: Sequence[Prelude]) -> Generator[int, None, None]:
        for prelude in preludes:
            self.client_address = yield from prelude(self.request, self.client_address)

    def ready(self, events: int) -> None:
        """Continue: more has come."""
        self._all.advance(self)


class PendingConnections:
    """The connections of a server whose preludes are not complete.

    They are polled in the serving loop, so that a silent client takes neither a thread nor a process. There
    are ``max_preludes`` at most: one more, and the one that has waited longest is rejected, so that silent
    clients keep no other out. Each has ``prelude_timeout`` seconds. One whose preludes are complete begins,
    or is queued in the intake until there is room for it.
    """

    def __init__(self, server: LoopServer, queue: Queue, preludes: Sequence[Prelude]) -> None:
        self.preludes = preludes
        self._server = server
        self._queue = queue
        self._loop: Loop | None = None
        #: By descriptor, in the order in which they came, which is that of their deadlines.
        self._connections: dict[int, PendingConnection] = {}
        #: Those that the poller calls ready although too few bytes have come.
        self._stalled: dict[int, PendingConnection] = {}
        self._sweep_timer: TimerHandle | None = None
        self._check_timer: TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def enter(self, loop: Loop) -> None:
        """Let *loop* poll for those that wait."""
        self._loop = loop
        for fd, connection in self._connections.items():
            if fd not in self._stalled:
                loop.register(fd, READ, connection.ready)
        self._set_timers()

    def leave(self) -> None:
        """Leave the loop; pending connections go on in the next one."""
        if self._loop is not None:
            for fd in self._connections.keys() - self._stalled.keys():
                self._loop.unregister(fd)
        for timer in (self._sweep_timer, self._check_timer):
            if timer is not None:
                timer.cancel()
        self._loop = self._sweep_timer = self._check_timer = None

    def admit(self, request: Request, client_address: ClientAddress) -> None:
        """Begin the preludes of a connection; the bytes that have come already may complete them."""
        assert not isinstance(request, tuple)  # only servers of connections have preludes
        server = self._server
        connection = PendingConnection(self, request, client_address, monotonic() + server.prelude_timeout)
        request.setblocking(False)
        self._connections[connection.fd] = connection
        self.advance(connection, new=True)
        if len(self._connections) > server.max_preludes:
            self._reject_first(
                1, f"of max_preludes = {server.max_preludes} pending connections it waited longest"
            )

    def advance(self, connection: PendingConnection, *, new: bool = False) -> None:
        """Run a connection's preludes as far as its bytes go."""
        try:
            wanted = max(next(connection.steps), 1)
        except StopIteration:
            self._remove(connection, new)
            self._complete(connection)
        except PlugportError as error:
            self._reject(connection, str(error), new)
        except OSError as error:
            self._reject(connection, f"the connection broke before its request began: {error}", new)
        except Exception as error:
            self._server.handle_failure(connection.request, connection.client_address, error)
            self._reject(connection, "its prelude raised", new)
        else:
            self._wait(connection, wanted, new)

    def _wait(self, connection: PendingConnection, wanted: int, new: bool) -> None:
        """Have the poller wait for *wanted* bytes; where it can't, check at intervals."""
        stalled = connection.fd in self._stalled
        if wanted != connection.low_water:
            can_poll = _set_low_water(connection.request, wanted)
            connection.low_water = wanted
        else:
            # It was called ready for that many and has fewer: over a unix socket, or at its end.
            can_poll = wanted == 1 or new
            if not can_poll and (code := connection.request.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                self._reject(
                    connection, f"the connection broke before its request began: {os.strerror(code)}"
                )
                return
        if can_poll and new:
            self._current_loop().register(connection.fd, READ, connection.ready)
        elif not can_poll and not stalled:
            if not new:
                self._current_loop().unregister(connection.fd)
            self._stalled[connection.fd] = connection
        self._set_timers()

    def _complete(self, connection: PendingConnection) -> None:
        server, request = self._server, connection.request
        if connection.low_water != 1:
            _set_low_water(request, 1)
        request.settimeout(connection.timeout)
        # handle_request() begins a single one itself.
        is_stopping = server.is_draining() or server.stopping
        if not server.is_serving() or is_stopping or self._queue.has_queued() or not server.has_room():
            self._queue.append(request, connection.client_address)
            self._current_loop().reconsider()
            return
        self._queue.settled += 1
        server.begin_and_process(request, connection.client_address)
        if not server.has_room() or server.stopping:
            self._current_loop().reconsider()

    def _reject(self, connection: PendingConnection, reason: str, new: bool = False) -> None:
        self._remove(connection, new)
        connection.steps.close()
        server = self._server
        self._queue.settled += 1
        server.reject_request(connection.client_address, reason)
        server.shutdown_request(connection.request)

    def _remove(self, connection: PendingConnection, new: bool) -> None:
        del self._connections[connection.fd]
        if self._stalled.pop(connection.fd, None) is None and not new and self._loop is not None:
            self._loop.unregister(connection.fd)

    def reject_all(self, reason: str) -> None:
        """Reject all of them."""
        self._reject_first(len(self._connections), reason)

    def reject_oldest_half(self) -> None:
        """Reject those that have waited longest, half of all: there are no descriptors left."""
        self._reject_first((len(self._connections) + 1) // 2, "there are no descriptors left")

    def _reject_first(self, count: int, reason: str) -> None:
        for connection in tuple(self._connections.values())[:count]:
            self._reject(connection, reason)

    def abandon(self) -> None:
        """Close, in a forked child, its copies of the connections: the parent has them."""
        while self._connections:
            _, connection = self._connections.popitem()
            self._server.close_request(connection.request)
        self._stalled.clear()
        self._loop = self._sweep_timer = self._check_timer = None

    def _current_loop(self) -> Loop:
        assert self._loop is not None  # bytes come, and time passes, only in a loop
        return self._loop

    # Time ---------------------------------------------------------------------------------------

    def _set_timers(self) -> None:
        if self._sweep_timer is None and self._connections:
            first = next(iter(self._connections.values()))
            self._sweep_timer = self._current_loop().call_later(
                max(first.deadline - monotonic(), 0.0), self._sweep
            )
        if self._check_timer is None and self._stalled:
            self._check_timer = self._current_loop().call_later(_CHECK_INTERVAL, self._check)

    def _sweep(self) -> None:
        """Reject those whose time is up."""
        self._sweep_timer = None
        now = monotonic()
        limit = self._server.prelude_timeout
        for connection in tuple(self._connections.values()):
            if connection.deadline > now:
                break
            if self._connections.get(connection.fd) is connection:
                self.advance(connection)  # the loop was busy, and the bytes may have come since
            if self._connections.get(connection.fd) is connection:
                self._reject(connection, f"it took longer than prelude_timeout = {limit:g} s to begin")
        self._finish_call()

    def _check(self) -> None:
        """Check those for which the poller can't wait."""
        self._check_timer = None
        for fd, connection in tuple(self._stalled.items()):
            if self._stalled.get(fd) is connection:
                self.advance(connection)
        self._finish_call()

    def _finish_call(self) -> None:
        if self._loop is not None:
            self._set_timers()
            self._server.wake()  # the loop may wait for what has changed, in a drain for example


def _set_low_water(request: StreamRequest, count: int) -> bool:
    """Have the poller report *request* when *count* bytes have come; return whether it will."""
    if count > 1 and _LOW_WATER is None:
        return False
    if _LOW_WATER is not None:
        try:
            request.setsockopt(socket.SOL_SOCKET, _LOW_WATER, count)
        except OSError:
            return count == 1
    return True
