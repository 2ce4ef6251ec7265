"""Preludes: what must be seen of an accepted connection before its request begins, and where it waits.

A prelude is a generator function of the connection and the client's address. It takes what is
there, yields how many bytes it waits for when more must come, and returns the client's address,
as the request is to have it::

    def named(request, client_address):
        length = (yield from peek(request, 1))[0]
        name = yield from peek(request, 1 + length)
        request.recv(1 + length)
        return name[1:].decode(), client_address

A server says by ``preludes()`` which it has. They run one after the other in the serving loop, on a
socket that does not block, and take from it only what is their own: the rest is the handler's.
What is wrong with a connection they say by PreludeError, and it is turned away for that reason.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Generator, Sequence
from functools import partial
from time import monotonic
from typing import Any

from plugport.contracts.loops import READ, Loop
from plugport.errors import PlugportError, PreludeError

__all__ = ["PendingConnections", "Prelude", "Steps", "peek", "receiver_of"]

#: What a prelude is while it runs: it yields numbers of bytes, and returns the client's address.
Steps = Generator[int, None, Any]
Prelude = Callable[[Any, Any], Steps]

#: Seconds between two looks at connections for which the poller can't wait.
_LOOK_INTERVAL = 0.05
_LOW_WATER = getattr(socket, "SO_RCVLOWAT", None)
#: The client has ended its side.
_READ_HANGUP = getattr(select, "POLLRDHUP", 0)


def peek(request: Any, size: int) -> Generator[int, None, bytes]:
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
            raise PreludeError("the client went away before its request began")
        yield size


def receiver_of(request: Any) -> Callable[..., bytes]:
    """Return the recv() of a connection by which a prelude takes bytes: the plain one.

    Not that of a class over it: what TLS, say, has wrapped, has not begun yet. Sockets that are no
    sockets of the standard library, a strategy's own, know themselves how.
    """
    return partial(socket.socket.recv if isinstance(request, socket.socket) else type(request).recv, request)


def _has_ended(request: Any) -> bool:
    """Whether no more will come than is there: what is there hides the end from who peeks."""
    if not _READ_HANGUP:
        return False
    poll = select.poll()
    poll.register(request.fileno(), _READ_HANGUP)
    events = sum(events for _, events in poll.poll(0))
    return bool(events & _READ_HANGUP) and not events & select.POLLERR  # one that broke says how itself


class PendingConnection:
    """A connection that waits."""

    __slots__ = ("_room", "client_address", "deadline", "fd", "low_water", "request", "steps", "timeout")

    def __init__(self, room: PendingConnections, request: Any, client_address: Any, deadline: float) -> None:
        self._room = room
        self.request = request
        #: As far as it is known: each prelude may find another.
        self.client_address = client_address
        self.deadline = deadline
        self.fd: int = request.fileno()
        self.timeout: float | None = request.gettimeout()
        #: The bytes for which the poller waits (SO_RCVLOWAT).
        self.low_water = 1
        self.steps = self._run(room.preludes)

    def _run(self, preludes: Sequence[Prelude]) -> Steps:
        for prelude in preludes:
            self.client_address = yield from prelude(self.request, self.client_address)

    def ready(self, events: int) -> None:
        """More has come."""
        self._room.advance(self)


class PendingConnections:
    """The connections of a server whose preludes are not complete.

    They are polled in the serving loop, so that a silent client takes neither a thread nor a
    process. There are ``max_preludes`` at most: when another comes, the one that has waited
    longest goes, so that silent clients keep nobody out who speaks. Each has ``prelude_timeout``
    seconds. One whose preludes are complete begins, or waits in ``server.accepted`` until there
    is room for it.
    """

    def __init__(self, server: Any, preludes: Sequence[Prelude]) -> None:
        self.preludes = preludes
        self._server = server
        self._loop: Any = None
        #: In the order in which they came, which is that of their deadlines.
        self._guests: dict[int, PendingConnection] = {}
        #: Those that the poller calls ready although too few bytes have come.
        self._stalled: dict[int, PendingConnection] = {}
        self._sweep_timer: Any = None
        self._look_timer: Any = None

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, loop: Loop) -> None:
        """Let *loop* poll for those that wait."""
        self._loop = loop
        for fd, guest in self._guests.items():
            if fd not in self._stalled:
                loop.register(fd, READ, guest.ready)
        self._set_timers()

    def leave(self) -> None:
        """Have no loop any more; who waits goes on when there is one again."""
        for fd in self._guests:
            if fd not in self._stalled:
                self._loop.unregister(fd)
        for timer in (self._sweep_timer, self._look_timer):
            if timer is not None:
                timer.cancel()
        self._loop = self._sweep_timer = self._look_timer = None

    def admit(self, request: Any, client_address: Any) -> None:
        """Begin with the preludes of a connection; what has come already may be all of them."""
        server = self._server
        guest = PendingConnection(self, request, client_address, monotonic() + server.prelude_timeout)
        request.setblocking(False)
        self._guests[guest.fd] = guest
        self.advance(guest, new=True)
        if len(self._guests) > server.max_preludes:
            self._dismiss_first(
                1, f"of max_preludes = {server.max_preludes} that wait to begin it waited longest"
            )

    def advance(self, guest: PendingConnection, *, new: bool = False) -> None:
        """Go on with a connection's preludes, as far as its bytes go."""
        try:
            wanted = max(next(guest.steps), 1)
        except StopIteration:
            self._remove(guest, new)
            self._complete(guest)
        except PlugportError as error:
            self._reject(guest, str(error), new)
        except OSError as error:
            self._reject(guest, f"the connection broke before its request began: {error}", new)
        except Exception as error:
            self._server.handle_failure(guest.request, guest.client_address, error)
            self._reject(guest, "its prelude raised", new)
        else:
            self._wait(guest, wanted, new)

    def _wait(self, guest: PendingConnection, wanted: int, new: bool) -> None:
        """Have the poller wait for *wanted* bytes; where it can't, look now and then."""
        stalled = guest.fd in self._stalled
        if wanted != guest.low_water:
            patient = _set_low_water(guest.request, wanted)
            guest.low_water = wanted
        else:
            # It was called ready for that many and has fewer: over a unix socket, or at its end.
            patient = wanted == 1 or new
            if not patient and (code := guest.request.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                self._reject(guest, f"the connection broke before its request began: {os.strerror(code)}")
                return
        if patient and new:
            self._loop.register(guest.fd, READ, guest.ready)
        elif not patient and not stalled:
            if not new:
                self._loop.unregister(guest.fd)
            self._stalled[guest.fd] = guest
        self._set_timers()

    def _complete(self, guest: PendingConnection) -> None:
        server, request = self._server, guest.request
        if guest.low_water != 1:
            _set_low_water(request, 1)
        request.settimeout(guest.timeout)
        stopping = server.is_draining() or server._BaseServer__shutdown_request
        # handle_request() sees itself to it that one begins, and no more.
        alone = server._serving_thread is None
        if alone or stopping or server.accepted or not server.has_room():
            server.accepted.append((request, guest.client_address))
            self._loop.reconsider()
            return
        server.settled += 1
        server._begin_and_process(request, guest.client_address)
        if not server.has_room() or server._BaseServer__shutdown_request:
            self._loop.reconsider()

    def _reject(self, guest: PendingConnection, reason: str, new: bool = False) -> None:
        self._remove(guest, new)
        guest.steps.close()
        server = self._server
        server.settled += 1
        server.reject_request(guest.client_address, reason)
        server.shutdown_request(guest.request)

    def _remove(self, guest: PendingConnection, new: bool) -> None:
        del self._guests[guest.fd]
        if self._stalled.pop(guest.fd, None) is None and not new and self._loop is not None:
            self._loop.unregister(guest.fd)

    def dismiss(self, reason: str) -> None:
        """Turn away all that wait."""
        self._dismiss_first(len(self._guests), reason)

    def reject_oldest_half(self) -> None:
        """Turn away those that have waited longest, half of all: there are no descriptors left."""
        self._dismiss_first((len(self._guests) + 1) // 2, "there are no descriptors left")

    def _dismiss_first(self, count: int, reason: str) -> None:
        for guest in tuple(self._guests.values())[:count]:
            self._reject(guest, reason)

    def abandon(self) -> None:
        """Close, in a forked child, its copies of the connections: they are the parent's."""
        while self._guests:
            _, guest = self._guests.popitem()
            self._server.close_request(guest.request)
        self._stalled.clear()
        self._loop = self._sweep_timer = self._look_timer = None

    # Time ---------------------------------------------------------------------------------------

    def _set_timers(self) -> None:
        if self._sweep_timer is None and self._guests:
            first = next(iter(self._guests.values()))
            self._sweep_timer = self._loop.call_later(max(first.deadline - monotonic(), 0.0), self._sweep)
        if self._look_timer is None and self._stalled:
            self._look_timer = self._loop.call_later(_LOOK_INTERVAL, self._look)

    def _sweep(self) -> None:
        """Turn away those whose time is up."""
        self._sweep_timer = None
        now = monotonic()
        limit = self._server.prelude_timeout
        for guest in tuple(self._guests.values()):
            if guest.deadline > now:
                break
            if self._guests.get(guest.fd) is guest:
                self.advance(guest)  # what was wanted may be there, and the loop have been busy since
            if self._guests.get(guest.fd) is guest:
                self._reject(guest, f"it took longer than prelude_timeout = {limit:g} s to begin")
        self._end_call()

    def _look(self) -> None:
        """Look at those for which the poller can't wait."""
        self._look_timer = None
        for fd, guest in tuple(self._stalled.items()):
            if self._stalled.get(fd) is guest:
                self.advance(guest)
        self._end_call()

    def _end_call(self) -> None:
        if self._loop is not None:
            self._set_timers()
            self._server.wake()  # the loop may wait for what has changed: a drain, say


def _set_low_water(request: Any, count: int) -> bool:
    """Have the poller call *request* ready when *count* bytes have come; return whether it will."""
    if count > 1 and _LOW_WATER is None:
        return False
    if _LOW_WATER is not None:
        try:
            request.setsockopt(socket.SOL_SOCKET, _LOW_WATER, count)
        except OSError:
            return count == 1
    return True
