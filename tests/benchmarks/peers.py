"""The Python peers: servers of other packages, and of the standard library, that do the same work.

    python tests/benchmarks/peers.py NAME [ADDRESS]

Each peer is a function here; its name has hyphens for underscores. It serves as its documentation has it, on
a free port, until a signal ends it, and prints ``listening on URL`` on standard error. Defaults are left as
they are (asyncio, uvloop and trio set TCP_NODELAY, for instance, which the others do not), except for the
backlog, which is the system's limit, as plugport's is.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import socketserver
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import handlers

PEERS: dict[str, Callable[[str], None]] = {}


def peer(serve: Callable[[str], None]) -> Callable[[str], None]:
    """Make a function known by its name."""
    PEERS[serve.__name__.replace("_", "-")] = serve
    return serve


def announce(sock: Any, scheme: str = "tcp") -> None:
    print("listening on {}://{}:{}".format(scheme, *sock.getsockname()), file=sys.stderr, flush=True)


# socketserver -------------------------------------------------------------------------------------


def serve_socketserver(base: type, handler: type, host: str, scheme: str = "tcp") -> None:
    # With its backlog of 5 it would turn connections away, and their clients would wait for a second.
    server_class = type(base.__name__, (base,), {"request_queue_size": socket.SOMAXCONN})
    with server_class((host, 0), handler) as server:
        announce(server.socket, scheme)
        server.serve_forever()


@peer
def socketserver_sync(host: str) -> None:
    serve_socketserver(socketserver.TCPServer, handlers.BlockingOnce, host)


@peer
def socketserver_threading(host: str) -> None:
    serve_socketserver(socketserver.ThreadingTCPServer, handlers.BlockingOnce, host)


@peer
def socketserver_forking(host: str) -> None:
    serve_socketserver(socketserver.ForkingTCPServer, handlers.BlockingOnce, host)


@peer
def socketserver_threading_keepalive(host: str) -> None:
    serve_socketserver(socketserver.ThreadingTCPServer, handlers.BlockingEcho, host)


@peer
def socketserver_udp(host: str) -> None:
    serve_socketserver(socketserver.UDPServer, handlers.BlockingDatagram, host, "udp")


@peer
def socketserver_udp_threading(host: str) -> None:
    serve_socketserver(socketserver.ThreadingUDPServer, handlers.BlockingDatagram, host, "udp")


@peer
def socketserver_forking_beside_plugport(host: str) -> None:
    """The same in a process with the modules that `plugport serve` has: what they alone cost a fork."""
    import plugport.cli.serve
    import plugport.cli.service  # noqa: F401
    import plugport_builtins.concurrency.forking
    import plugport_builtins.servers.tcp  # noqa: F401

    serve_socketserver(socketserver.ForkingTCPServer, handlers.BlockingOnce, host)


# The floor in Python ------------------------------------------------------------------------------
# Loops that do the work and nothing else: no limit, no timeout, no error that a client can make. What they
# take is what CPython takes; no server that is written in Python can take less.


def python_listening(host: str) -> socket.socket:
    listening = socket.create_server((host, 0), backlog=socket.SOMAXCONN)
    listening.setblocking(False)
    announce(listening)
    return listening


@peer
def python_epoll(host: str) -> None:
    """Connections that stay."""
    listening = python_listening(host)
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN)
    accepting = listening.fileno()
    connections: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == accepting:
                connection, _ = listening.accept()
                connection.setblocking(False)
                connections[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
            elif data := connections[fd].recv(512):
                connections[fd].send(data)
            else:
                connections.pop(fd).close()


@peer
def python_epoll_once(host: str) -> None:
    """A connection for each request."""
    listening = python_listening(host)
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}

    def answer(connection: socket.socket) -> None:
        connection.send(connection.recv(512))
        connection.close()

    while True:
        for fd, _ in poll.poll():
            if fd in connections:
                answer(connections.pop(fd))
                continue
            connection, _ = listening.accept()
            connection.setblocking(False)
            try:
                answer(connection)  # most have sent it by now
            except BlockingIOError:
                connections[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)


@peer
def python_epoll_udp(host: str) -> None:
    """Datagrams."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.setblocking(False)
    announce(sock, "udp")
    poll = select.epoll()
    poll.register(sock, select.EPOLLIN)
    while True:
        poll.poll()
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.sendto(*sock.recvfrom(65535))


# asyncio and uvloop -------------------------------------------------------------------------------


def run(main: Coroutine[Any, Any, None], *, on_uvloop: bool = False) -> None:
    factory = None
    if on_uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


async def serve_protocol(host: str, protocol: type[asyncio.Protocol]) -> None:
    server = await asyncio.get_running_loop().create_server(protocol, host, 0, backlog=socket.SOMAXCONN)
    announce(server.sockets[0])
    await server.serve_forever()


async def serve_streams(host: str) -> None:
    server = await asyncio.start_server(handlers.stream, host, 0, backlog=socket.SOMAXCONN)
    announce(server.sockets[0])
    await server.serve_forever()


async def serve_datagrams(host: str) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(handlers.ProtocolDatagrams, (host, 0))
    announce(transport.get_extra_info("socket"), "udp")
    await loop.create_future()


@peer
def asyncio_protocol(host: str) -> None:
    run(serve_protocol(host, handlers.ProtocolEcho))


@peer
def asyncio_streams(host: str) -> None:
    run(serve_streams(host))


@peer
def asyncio_udp(host: str) -> None:
    run(serve_datagrams(host))


@peer
def uvloop_protocol(host: str) -> None:
    run(serve_protocol(host, handlers.ProtocolEcho), on_uvloop=True)


@peer
def uvloop_once(host: str) -> None:
    run(serve_protocol(host, handlers.ProtocolOnce), on_uvloop=True)


@peer
def uvloop_udp(host: str) -> None:
    run(serve_datagrams(host), on_uvloop=True)


# plugport ---------------------------------------------------------------------------------------


@peer
def plugport_bare(host: str) -> None:
    """A composed class that runs by itself: no service, no hooks."""
    from plugport import compose

    with compose("tcp", "select")((host, 0), handlers.ProtocolOnce) as server:
        announce(server.socket)
        server.serve_forever()


# Others -------------------------------------------------------------------------------------------


@peer
def gevent(host: str) -> None:
    from gevent.server import StreamServer

    server = StreamServer(
        (host, 0), lambda connection, _: handlers.echo(connection), backlog=socket.SOMAXCONN
    )
    server.start()
    announce(server.socket)
    server.serve_forever()


@peer
def twisted(host: str) -> None:
    from twisted.internet import epollreactor

    epollreactor.install()
    from twisted.internet import protocol, reactor

    class Echo(protocol.Protocol):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), backlog=socket.SOMAXCONN, interface=host)
    announce(port.socket)
    reactor.run()


@peer
def trio(host: str) -> None:
    import trio

    async def echo(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    async def main() -> None:
        listeners = await trio.open_tcp_listeners(0, host=host, backlog=socket.SOMAXCONN)
        announce(listeners[0].socket)
        await trio.serve_listeners(echo, listeners)

    trio.run(main)


if __name__ == "__main__":
    if not sys.argv[1:] or sys.argv[1] not in PEERS:
        sys.exit(f"usage: peers.py NAME [ADDRESS]; the names are {', '.join(PEERS)}")
    PEERS[sys.argv[1]](sys.argv[2] if sys.argv[2:] else "127.0.0.1")
