"""The base classes of blocking request handlers, with the contract of the standard library's socketserver."""

from __future__ import annotations

import socket
from io import BufferedIOBase, BytesIO
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from plugport.contracts.interfaces import ClientAddress, Request
from plugport.contracts.members import Help
from plugport.contracts.requests import RequestHandedOver, Server
from plugport.contracts.traits import TransportKind

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "AsyncRequestHandler",
    "BaseRequestHandler",
    "DatagramRequestHandler",
    "SocketWriter",
    "StreamRequestHandler",
]


class BaseRequestHandler:
    """Handles one request: the constructor runs setup(), handle() and, whatever handle() does, finish().

    ``self.request`` is the connection (a socket) on stream servers, the pair (datagram, socket)
    on datagram servers; ``self.client_address`` and ``self.server`` are what they say. Each
    request has an instance of its own. (socketserver.BaseRequestHandler)

    The class attributes ``transports``, ``shared_state``, ``thread_safe``, ``needs_thread``,
    ``needs_descriptor`` and ``alpn_protocols`` are traits: they tell where the handler can live. A class
    method ``as_protocol(context)``, if there is one, makes a protocol that does the same work; where requests
    live in a loop it takes the place of the greenlet. See :class:`plugport.contracts.HandlerTraits`.
    """

    transports: ClassVar[frozenset[TransportKind]] = frozenset({"stream", "datagram"})
    shared_state: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = False
    needs_thread: ClassVar[bool] = False
    needs_descriptor: ClassVar[bool] = False
    alpn_protocols: ClassVar[tuple[str, ...]] = ()

    request: Any
    client_address: Any
    server: Any

    def __init__(self, request: Request, client_address: ClientAddress, server: Server) -> None:
        self.request = request
        self.client_address = client_address
        self.server = server
        self.setup()
        handed_over = False
        try:
            self.handle()
        except RequestHandedOver:
            handed_over = True
            raise
        finally:
            if not handed_over:
                self.finish()

    def setup(self) -> None:
        """Called before handle(). May be overridden."""

    def handle(self) -> None:
        """Serve the request. To be overridden."""

    def finish(self) -> None:
        """Called after handle(), also when that raised. May be overridden."""

    def finish_in_child(self) -> None:
        """Continue in a forked child, so that the request does not keep others waiting.

        Under a serial strategy the process forks. The child returns from this call, continues with handle()
        and exits after finish(). In the parent the call does not return: the request leaves it, and the
        server takes the next one. Under a strategy that gives each request a thread or a process the call
        does nothing.

        It does not wait: while there are ``max_children`` children no request begins. Raises OSError if the
        system can't fork.
        """
        wfile = getattr(self, "wfile", None)
        if wfile is not None:
            wfile.flush()
        # Over TLS the server knows the request by the connection below.
        request = getattr(self.request, "accepted", self.request)
        self.server.finish_in_child(request, self.client_address)


class StreamRequestHandler(BaseRequestHandler):
    """A handler of connections, with the files rfile and wfile. (socketserver.StreamRequestHandler)"""

    transports = frozenset({"stream"})

    rbufsize: Annotated[int, Help("buffer of rfile in bytes (-1: the default size, 0: none)", ge=-1)] = -1
    wbufsize: Annotated[int, Help("buffer of wfile in bytes (-1: the default size, 0: none)", ge=-1)] = 0
    timeout: Annotated[float | None, Help("seconds that a read or write may wait (null: no limit)", gt=0)] = (
        None
    )
    disable_nagle_algorithm: Annotated[bool, Help("send small writes at once (TCP_NODELAY)")] = False

    connection: Any
    rfile: Any
    wfile: Any

    def setup(self) -> None:
        """Open rfile and wfile on the connection."""
        self.connection = self.request
        if self.timeout is not None:
            self.connection.settimeout(self.timeout)
        if self.disable_nagle_algorithm:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        if self.wbufsize == 0:
            self.wfile = SocketWriter(self.connection)
        else:
            self.wfile = self.connection.makefile("wb", self.wbufsize)

    def finish(self) -> None:
        """Flush and close both files. A connection that has broken by now is no error."""
        try:
            self.wfile.close()
        except OSError:
            pass
        finally:
            self.rfile.close()


class SocketWriter(BufferedIOBase):
    """An unbuffered writable file on a socket: each write is one sendall()."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Send all of *data*; return its length in bytes."""
        self._sock.sendall(data)
        with memoryview(data) as view:
            return view.nbytes

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._sock.fileno()


class DatagramRequestHandler(BaseRequestHandler):
    """A handler of datagrams: rfile holds the packet, wfile is sent back at the end.

    (socketserver.DatagramRequestHandler)
    """

    transports = frozenset({"datagram"})

    packet: bytes
    socket: Any
    rfile: BytesIO
    wfile: BytesIO

    def setup(self) -> None:
        """Open rfile on the packet and an empty wfile."""
        self.packet, self.socket = self.request
        self.rfile = BytesIO(self.packet)
        self.wfile = BytesIO()

    def finish(self) -> None:
        """Send what was written, as one datagram, an empty one included."""
        self.socket.sendto(self.wfile.getvalue(), self.client_address)


class AsyncRequestHandler:
    """The base of async handlers, for authors who prefer a class to a function.

    On stream servers ``handle(reader, writer)`` is called as asyncio.start_server calls its callback, and
    returning from it ends the request. On datagram servers it is ``handle(message, reply)``, with the
    datagram and a function that sends one back.

    A class method ``serving(servers)``, if there is one, returns an async context manager. It is entered on
    the loop before the servers take requests, and left when the last request has ended. Under a strategy that
    runs a loop for each request it is around each request.

    An asyncio.Protocol whose ``style`` is "async" runs on the event loop itself. A class method
    ``for_request(context)``, if there is one, makes it for the request of that record. The request ends when
    the connection is lost, and then its coroutine method ``wait_closed()``, if there is one, has returned.
    """

    style: ClassVar[str] = "async"
    transports: ClassVar[frozenset[TransportKind]] = frozenset({"stream", "datagram"})
    shared_state: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = False

    def __init__(self, client_address: ClientAddress, server: Server) -> None:
        self.client_address = client_address
        self.server = server

    # Any: an override takes (reader, writer) or, on datagrams, (message, reply).
    async def handle(self, reader: Any, writer: Any) -> None:
        """Serve the request. To be overridden."""
