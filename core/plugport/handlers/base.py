"""The base classes of blocking request handlers, with the contract of the standard library's socketserver."""

from __future__ import annotations

import socket
from io import BufferedIOBase, BytesIO
from typing import Annotated, Any, ClassVar

from plugport.contracts.members import Help
from plugport.contracts.requests import RequestHandedOver

__all__ = [
    "BaseRequestHandler",
    "DatagramRequestHandler",
    "SocketWriter",
    "StreamRequestHandler",
    "Transport",
]

Transport = str  # "stream" or "datagram"


class BaseRequestHandler:
    """Handles one request: the constructor runs setup(), handle() and, whatever handle() does, finish().

    ``self.request`` is the connection (a socket) on stream servers, the pair (datagram, socket)
    on datagram servers; ``self.client_address`` and ``self.server`` are what they say. Each
    request has an instance of its own. (socketserver.BaseRequestHandler)

    Class attributes that tell plugport where the handler may live:

    ``transports``     what it can serve: "stream", "datagram", or both
    ``shared_state``   it keeps state in memory that all requests must see
    ``thread_safe``    that state is guarded (by ``self.server.lock``, say)
    ``needs_thread``   it waits for more than its connection, for a program, say: it can't live in
                       the one thread of a loop
    ``needs_descriptor``  it gives the descriptor of its connection away, to a program, say: it can't
                       live where there is TLS above that
    ``alpn_protocols``  the protocols that it speaks, by their names in ALPN (RFC 7301), the best first;
                       () if it does not say

    A class method ``as_protocol(context)``, if there is one, makes a protocol that does the same work:
    where requests live in a loop it takes the place of the greenlet. (plugport.bridges)
    """

    transports: ClassVar[frozenset[Transport]] = frozenset({"stream", "datagram"})
    shared_state: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = False
    needs_thread: ClassVar[bool] = False
    needs_descriptor: ClassVar[bool] = False
    alpn_protocols: ClassVar[tuple[str, ...]] = ()

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
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
        """Go on where it holds nobody up: what follows this call runs off the accepting thread.

        Under a serial strategy the process forks: the child returns from this call, carries on
        with handle() and exits after finish(); in the parent the call does not return, the
        request leaves it, and the server takes the next one. Under a strategy that has given
        the request a thread or process of its own the call does nothing.

        Does not wait: when there are ``max_children`` of them no request begins. Raises OSError if
        the system can't fork.
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
    timeout: Annotated[float | None, Help("seconds that a read or write may wait (null: for ever)", gt=0)] = (
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

    def write(self, data: Any) -> int:
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
    """A handler of requests written with async and await, for those who want a class rather than a function.

    On stream servers ``handle(reader, writer)`` is called as asyncio.start_server calls its
    callback, and returning from it ends the request; on datagram servers ``handle(message, reply)``
    with the datagram and a function that sends one back.

    A class of the style may have a class method ``serving(servers)`` that returns an async context
    manager: it is entered on the loop before the servers take requests, and left when the last has
    ended. Under a strategy that runs a loop for each request it is around each request.

    An asyncio.Protocol whose ``style`` is "async" is run on the event loop itself. It is made by
    its class method ``for_request(context)``, with the connection's RequestContext, if it has one;
    and the request ends when its coroutine method ``wait_closed()`` returns, if it has one, which is
    called when the connection is lost.
    """

    style: ClassVar[str] = "async"
    transports: ClassVar[frozenset[Transport]] = frozenset({"stream", "datagram"})
    shared_state: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = False

    def __init__(self, client_address: Any, server: Any) -> None:
        self.client_address = client_address
        self.server = server

    async def handle(self, reader: Any, writer: Any) -> None:
        """Serve the request. To be overridden."""
