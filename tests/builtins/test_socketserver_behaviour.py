"""What the standard library's socketserver promises and its own tests leave out, on the drop-in."""

from __future__ import annotations

import errno
import io
import os
import socket
import socketserver as standard
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from clients import Client, ask, connect, datagram_client, is_closed, read_all, vanish
from patience import Call, wait_until, within

from plugport.contracts.hooks import NO_HOOKS
from plugport_builtins import socketserver

LOCALHOST = ("127.0.0.1", 0)
Closing = Callable[[Any], Any]
Serve = Callable[..., Call]


class Line(socketserver.StreamRequestHandler):
    """Sends a line back in capitals."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline().upper())


class Upper(socketserver.DatagramRequestHandler):
    """Sends a datagram back in capitals."""

    def handle(self) -> None:
        self.wfile.write(self.packet.upper())


class Broken(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        raise ValueError("broken on purpose")


def subclass(base: type, **members: Any) -> Any:
    return type(base.__name__, (base,), members)


# Names ----------------------------------------------------------------------------------------


def test_every_public_name_of_the_standard_module() -> None:
    names = {*standard.__all__, "ForkingUnixStreamServer", "ForkingUnixDatagramServer"}
    assert set(socketserver.__all__) == names
    for name in names:
        assert getattr(socketserver, name).__name__ == name


def test_member_variables_are_those_of_the_standard_module() -> None:
    for name in standard.__all__:
        public = {member for member in dir(getattr(standard, name)) if not member.startswith("_")}
        assert public - set(dir(getattr(socketserver, name))) == set()


def test_inheritance_diagram() -> None:
    diagram = {
        "TCPServer": "BaseServer",
        "UDPServer": "TCPServer",
        "UnixStreamServer": "TCPServer",
        "UnixDatagramServer": "UDPServer",
    }
    for name, base in diagram.items():
        assert getattr(socketserver, name).__bases__ == (getattr(socketserver, base),)


@pytest.mark.parametrize("kind", ["TCP", "UDP", "UnixStream", "UnixDatagram"])
@pytest.mark.parametrize("strategy", ["Threading", "Forking"])
def test_combined_classes(strategy: str, kind: str) -> None:
    combined = getattr(socketserver, f"{strategy}{kind}Server")
    mix_in = getattr(socketserver, f"{strategy}MixIn")
    assert combined.__bases__ == (mix_in, getattr(socketserver, f"{kind}Server"))


def test_used_alone_it_loads_no_plugins_and_fires_no_hooks() -> None:
    script = """
import sys
from plugport_builtins import socketserver
from plugport.contracts.hooks import NO_HOOKS

class Line(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline())

with socketserver.TCPServer(("127.0.0.1", 0), Line) as server:
    assert server.hooks is NO_HOOKS

heavy = {"plugport.plugin.manager", "plugport.plugin.registry"}
heavy |= {"click", "rich", "msgspec", "importlib_metadata"}
print(sorted(heavy & sys.modules.keys()))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (run.stdout, run.stderr) == ("[]\n", "")


# Running --------------------------------------------------------------------------------------


def test_service_actions_is_called_each_turn(serve: Serve) -> None:
    turns = []

    class Server(socketserver.TCPServer):
        def service_actions(self) -> None:
            turns.append(threading.get_ident())

    server = Server(LOCALHOST, Line)
    call = serve(server, poll_interval=0.01)
    wait_until(lambda: len(turns) >= 3, what="turns without a request")
    assert set(turns) == {call.ident}


def test_service_actions_is_called_after_a_request(serve: Serve) -> None:
    events = []

    class Server(socketserver.TCPServer):
        def service_actions(self) -> None:
            events.append("turn")

    def handler(request: Any, client_address: Any, server: Any) -> None:
        events.append("request")

    server = Server(LOCALHOST, handler)
    serve(server, poll_interval=60)
    for _ in range(3):
        assert ask(server, b"") == b""
    wait_until(lambda: events.count("turn") >= 3)
    wanted = ["request", "turn"] * 3
    assert events == wanted


def test_shutdown_waits_for_the_request_at_hand(serve: Serve) -> None:
    started, released, events = threading.Event(), threading.Event(), []

    def handler(request: Any, client_address: Any, server: Any) -> None:
        started.set()
        released.wait()
        events.append("request done")

    server = socketserver.TCPServer(LOCALHOST, handler)
    serving = serve(server)
    with connect(server):
        try:
            assert started.wait(10)
            shutdown = Call(lambda: [server.shutdown(), events.append("shutdown returned")])
            shutdown.join(0.1)
            assert shutdown.is_alive()
        finally:
            released.set()
        shutdown.result()
    assert events == ["request done", "shutdown returned"]
    serving.result()


def test_shutdown_leaves_what_is_in_the_backlog(serve: Serve) -> None:
    started, released = threading.Event(), threading.Event()

    def handler(request: Any, client_address: Any, server: Any) -> None:
        started.set()
        released.wait()
        request.sendall(b"served")

    server = socketserver.TCPServer(LOCALHOST, handler)
    serving = serve(server)
    with connect(server) as first, connect(server) as second:
        try:
            assert started.wait(10)
            shutdown = Call(server.shutdown)
            wait_until(lambda: server._BaseServer__shutdown_request)
        finally:
            released.set()
        shutdown.result()
        serving.result()
        assert first.recv(100) == b"served"
        serve(server)  # a second time, for those who were left
        assert second.recv(100) == b"served"


def test_shutdown_comes_before_a_request_that_waits(serve: Serve) -> None:
    turns = []

    class Server(socketserver.TCPServer):
        def service_actions(self) -> None:
            turns.append("turn")

    server = Server(LOCALHOST, Line)
    call = serve(server, poll_interval=60)
    assert ask(server, b"first\n") == b"FIRST\n"
    wait_until(lambda: turns)
    server._BaseServer__shutdown_request = True
    with connect(server) as client:  # the loop wakes up, and sees both
        call.result()
        client.sendall(b"later\n")
        serve(server)
        assert read_all(client) == b"LATER\n"


def test_shutdown_before_serve_forever_makes_that_return(closing: Closing) -> None:
    server = closing(socketserver.TCPServer(LOCALHOST, Line))
    server.shutdown()
    within(10, server.serve_forever)
    assert server._BaseServer__shutdown_request is False


def test_serves_again_after_shutdown(serve: Serve) -> None:
    server = socketserver.TCPServer(LOCALHOST, Line)
    for _ in range(3):
        call = serve(server)
        assert ask(server, b"again\n") == b"AGAIN\n"
        server.shutdown()
        call.result()


def test_setting_the_private_flag_stops_the_loop(serve: Serve) -> None:
    server = socketserver.TCPServer(LOCALHOST, Line)
    call = serve(server, poll_interval=0.01)
    assert ask(server, b"hello\n") == b"HELLO\n"
    assert not server._BaseServer__is_shut_down.is_set()
    server._BaseServer__shutdown_request = True
    call.result()
    assert server._BaseServer__is_shut_down.is_set()


def test_a_handler_that_sets_the_private_flag_stops_the_loop(serve: Serve) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        server._BaseServer__shutdown_request = True

    server = socketserver.TCPServer(LOCALHOST, handler)
    call = serve(server, poll_interval=60)
    assert ask(server, b"") == b""
    call.result()


def test_a_client_makes_the_loop_see_the_private_flag(serve: Serve) -> None:
    server = socketserver.TCPServer(LOCALHOST, Line)
    call = serve(server, poll_interval=60)
    assert ask(server, b"hello\n") == b"HELLO\n"
    server._BaseServer__shutdown_request = True
    with connect(server):
        call.result()


def test_private_handle_request_noblock(closing: Closing) -> None:
    server = closing(socketserver.TCPServer(LOCALHOST, Line))
    with connect(server) as client:
        client.sendall(b"hello\n")
        server._handle_request_noblock()
        assert read_all(client) == b"HELLO\n"


def test_a_subclass_that_overrides_handle_request_noblock(serve: Serve) -> None:
    calls = []

    class Server(socketserver.TCPServer):
        def _handle_request_noblock(self) -> None:
            calls.append("mine")
            super()._handle_request_noblock()

    server = Server(LOCALHOST, Line)
    serve(server)
    assert ask(server, b"hello\n") == b"HELLO\n"
    assert calls == ["mine"]


def test_a_subclass_that_never_calls_the_constructor(serve: Serve) -> None:
    class Server(socketserver.TCPServer):
        def __init__(self) -> None:
            self.RequestHandlerClass = Line
            self.socket = socket.create_server(LOCALHOST)
            self.server_address = self.socket.getsockname()

    server = Server()
    serve(server)
    assert ask(server, b"hello\n") == b"HELLO\n"


def test_what_is_no_exception_leaves_the_loop_and_closes_the_request(closing: Closing) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        raise KeyboardInterrupt

    server = closing(socketserver.TCPServer(LOCALHOST, handler))
    with connect(server) as client:
        with pytest.raises(KeyboardInterrupt):
            server.serve_forever()
        assert is_closed(client)
    assert server._BaseServer__is_shut_down.is_set()
    within(10, server.shutdown)


# handle_request -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server_timeout", "socket_timeout"), [(0.05, None), (None, 0.05), (0.05, 60.0), (60.0, 0.05), (0, None)]
)
def test_the_shorter_timeout_bounds_handle_request(
    closing: Closing, server_timeout: float | None, socket_timeout: float | None
) -> None:
    calls = []

    class Server(socketserver.TCPServer):
        timeout = server_timeout

        def handle_timeout(self) -> None:
            calls.append("timeout")

    server = closing(Server(LOCALHOST, Line))
    server.socket.settimeout(socket_timeout)
    start = time.monotonic()
    within(10, server.handle_request)
    assert calls == ["timeout"]
    assert time.monotonic() - start >= min(server_timeout or 0, socket_timeout or 60) - 0.001


def test_handle_request_without_a_timeout_waits(closing: Closing) -> None:
    server = closing(socketserver.TCPServer(LOCALHOST, Line))
    call = Call(server.handle_request)
    call.join(0.1)
    assert call.is_alive()
    assert ask(server, b"hello\n") == b"HELLO\n"
    call.result()


def test_handle_request_handles_one(closing: Closing) -> None:
    calls = []
    server = closing(socketserver.TCPServer(LOCALHOST, lambda *_: calls.append("request")))
    with connect(server), connect(server):
        server.handle_request()
        assert calls == ["request"]
        server.handle_request()
        assert calls == ["request", "request"]


def test_handle_request_needs_no_thread_to_shut_it_down(closing: Closing) -> None:
    server = closing(subclass(socketserver.TCPServer, timeout=0)(LOCALHOST, Line))
    server.shutdown()
    assert ask_once(server, b"hello\n") == b"HELLO\n"


def ask_once(server: Any, question: bytes) -> bytes:
    """What a client gets that is served by handle_request()."""
    call = Call(ask, server, question)
    while call.is_alive():
        server.handle_request()
    answer: bytes = call.result()
    return answer


# The way of a request -------------------------------------------------------------------------


def test_template_methods_are_called_in_their_order(closing: Closing) -> None:
    names = "get_request verify_request process_request finish_request shutdown_request close_request"
    calls: list[str] = []

    def note(name: str) -> Any:
        def method(self: Any, *args: Any) -> Any:
            calls.append(name)
            return getattr(super(server_class, self), name)(*args)

        return method

    server_class = subclass(socketserver.TCPServer, **{name: note(name) for name in names.split()})
    server = closing(server_class(LOCALHOST, Line))
    with connect(server) as client:
        client.sendall(b"hello\n")
        server.handle_request()
        assert read_all(client) == b"HELLO\n"
    assert calls == names.split()


def test_a_get_request_that_waits_is_called_for_one_datagram_at_a_time(serve: Serve, tmp_path: Path) -> None:
    class WaitsMixIn:
        socket: socket.socket

        def get_request(self) -> tuple[Any, Any]:
            data, client_address = self.socket.recvfrom(1000)
            return (data, self.socket), client_address

    class Server(WaitsMixIn, socketserver.UDPServer):
        pass

    server = Server(LOCALHOST, Upper)
    serve(server)
    with datagram_client(server, tmp_path) as client:
        for _ in range(20):
            client.send(b"hello")
            assert client.recv(100) == b"HELLO"
        within(10, server.shutdown)


def test_constructor_binds_and_activates_unless_told_not_to(closing: Closing) -> None:
    calls = []

    class Server(socketserver.TCPServer):
        def server_bind(self) -> None:
            calls.append("bind")
            super().server_bind()

        def server_activate(self) -> None:
            calls.append("activate")
            super().server_activate()

    closing(Server(LOCALHOST, Line, bind_and_activate=False))
    assert calls == []
    server = closing(Server(LOCALHOST, Line))
    assert calls == ["bind", "activate"]
    assert server.server_address == server.socket.getsockname()
    assert server.server_address[1] != 0
    assert server.fileno() == server.socket.fileno()


@pytest.mark.parametrize("step", ["server_bind", "server_activate"])
def test_socket_is_closed_when_the_constructor_fails(no_leaks: None, step: str) -> None:
    servers = []

    def fail(self: Any) -> None:
        servers.append(self)
        raise OSError(errno.EACCES, "not today")

    with pytest.raises(OSError, match="not today"):
        subclass(socketserver.TCPServer, **{step: fail})(LOCALHOST, Line)
    assert servers[0].fileno() == -1


def test_verify_request_turns_away(serve: Serve) -> None:
    asked = []

    class Server(socketserver.TCPServer):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            asked.append(client_address)
            return len(asked) != 1

    server = Server(LOCALHOST, Line)
    serve(server)
    with connect(server) as client:
        address = client.getsockname()
        assert client.recv(1) == b""
    assert ask(server, b"hello\n") == b"HELLO\n"
    assert asked[0] == address


def test_verify_request_turns_a_datagram_away(serve: Serve, tmp_path: Path) -> None:
    class Server(socketserver.UDPServer):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            data: bytes = request[0]
            return data != b"evil"

    server = Server(LOCALHOST, Upper)
    serve(server)
    with datagram_client(server, tmp_path) as client:
        client.send(b"evil")
        client.send(b"good")
        assert client.recv(100) == b"GOOD"


def test_verify_request_that_raises_harms_that_request_alone(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    class Server(socketserver.TCPServer):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            asked.append(client_address)
            if len(asked) == 1:
                raise LookupError("no such list")
            return True

    server = Server(LOCALHOST, Line)
    serve(server)
    with connect(server) as client:
        assert client.recv(1) == b""
    assert ask(server, b"hello\n") == b"HELLO\n"
    assert "LookupError: no such list" in capsys.readouterr().err


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.EINVAL])
def test_oserror_in_get_request_is_swallowed(
    serve: Serve, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    class Server(socketserver.TCPServer):
        def get_request(self) -> tuple[Any, Any]:
            accepted = super().get_request()
            calls.append("accept")
            if len(calls) == 1:
                accepted[0].close()
                raise OSError(code, "the client has gone")
            return accepted

    server = Server(LOCALHOST, Line)
    serve(server)
    with connect(server) as client:
        assert is_closed(client)
    assert ask(server, b"hello\n") == b"HELLO\n"
    assert capsys.readouterr().err == ""


def test_want_of_descriptors_is_warned_of_once_an_episode(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    codes = [errno.EMFILE, errno.ENFILE, 0, errno.ENOMEM, errno.ENOBUFS, 0]

    class Server(socketserver.TCPServer):
        def get_request(self) -> tuple[Any, Any]:
            if code := codes.pop(0):
                raise OSError(code, "not now")
            return super().get_request()

    server = Server(LOCALHOST, Line)
    serve(server, poll_interval=60)
    for _ in range(2):
        assert ask(server, b"hello\n") == b"HELLO\n"
    assert [message.rpartition("can't accept")[2] for message in caplog.messages] == [
        ", will try again: [Errno 24] not now",
        ", will try again: [Errno 12] not now",
    ]


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"])
def test_an_error_goes_to_stderr_and_harms_that_request_alone(
    serve: Serve, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    server = getattr(socketserver, kind)(LOCALHOST, Broken)
    serve(server)
    with connect(server) as client:
        port = client.getsockname()[1]
        assert read_all(client) == b""
    server.RequestHandlerClass = Line
    assert ask(server, b"hello\n") == b"HELLO\n"
    lines = capfd.readouterr().err.splitlines()
    assert lines[:3] == [
        "-" * 40,
        f"Exception occurred during processing of request from ('127.0.0.1', {port})",
        "Traceback (most recent call last):",
    ]
    assert lines[-2:] == ["ValueError: broken on purpose", "-" * 40]


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer"])
def test_handle_error_sees_the_exception(serve: Serve, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def handle_error(self: Any, request: Any, client_address: Any) -> None:
        seen.append((sys.exc_info()[1], request.fileno() >= 0))

    server = subclass(getattr(socketserver, kind), handle_error=handle_error)(LOCALHOST, Broken)
    serve(server)
    assert ask(server, b"") == b""
    [(error, still_open)] = seen
    assert str(error) == "broken on purpose"
    assert still_open
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["TCPServer", "ThreadingTCPServer"])
def test_handle_error_that_raises_harms_nobody_else(serve: Serve, kind: str) -> None:
    def handle_error(self: Any, request: Any, client_address: Any) -> None:
        raise RuntimeError("the mail server is down, too")

    server = subclass(getattr(socketserver, kind), handle_error=handle_error)(LOCALHOST, Broken)
    serve(server)
    assert ask(server, b"") == b""
    server.RequestHandlerClass = Line
    assert ask(server, b"hello\n") == b"HELLO\n"


def test_the_end_of_the_stream_is_sent_although_another_holds_the_connection(serve: Serve) -> None:
    copies = []
    server = socketserver.TCPServer(LOCALHOST, lambda request, *_: copies.append(request.dup()))
    serve(server)
    try:
        assert ask(server, b"") == b""
    finally:
        for copy in copies:
            copy.close()


def test_shutdown_request_of_a_client_that_has_gone(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        try:
            request.recv(1)
        except ConnectionResetError:
            pass

    server = socketserver.TCPServer(LOCALHOST, handler)
    serve(server)
    vanish(server)
    assert ask(server, b"") == b""
    assert capsys.readouterr().err == ""


def test_close_request_says_nothing_to_the_client(closing: Closing) -> None:
    server = closing(socketserver.TCPServer(LOCALHOST, Line))
    with connect(server) as client:
        request, _ = server.get_request()
        with request.dup() as copy:
            server.close_request(request)
            assert request.fileno() == -1
            copy.sendall(b"still here")
            assert client.recv(100) == b"still here"


def test_with_statement_closes() -> None:
    with socketserver.TCPServer(LOCALHOST, Line) as server:
        assert server.fileno() >= 0
    assert server.fileno() == -1
    server.server_close()  # may be called again


# Handlers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [False, True])
def test_finish_runs_whatever_handle_does(broken: bool) -> None:
    calls = []

    class Handler(socketserver.BaseRequestHandler):
        def setup(self) -> None:
            calls.append(("setup", self.request, self.client_address, self.server))

        def handle(self) -> None:
            calls.append("handle")
            if broken:
                raise ValueError

        def finish(self) -> None:
            calls.append("finish")

    try:
        Handler("request", "client", "server")
    except ValueError:
        assert broken
    else:
        assert not broken
    assert calls == [("setup", "request", "client", "server"), "handle", "finish"]


def test_finish_does_not_run_when_setup_fails() -> None:
    calls = []

    class Handler(socketserver.BaseRequestHandler):
        def setup(self) -> None:
            raise ValueError("no setup")

        def finish(self) -> None:
            calls.append("finish")

    with pytest.raises(ValueError, match="no setup"):
        Handler(None, None, None)
    assert calls == []


class Peer:
    """Runs a handler on one end of a pair of sockets; the test is the client at the other."""

    def __init__(self) -> None:
        self.client, self.request = socket.socketpair()
        self.client.settimeout(10)

    def run(self, handler: Any) -> Any:
        return handler(self.request, "client", None)


@pytest.fixture
def peer(no_leaks: None) -> Any:
    peer = Peer()
    yield peer
    peer.client.close()
    peer.request.close()


@pytest.mark.parametrize(
    ("size", "kind"), [(-1, io.BufferedReader), (0, socket.SocketIO), (10, io.BufferedReader)]
)
def test_rbufsize(peer: Peer, size: int, kind: type) -> None:
    left = []

    class Handler(socketserver.StreamRequestHandler):
        rbufsize = size

        def handle(self) -> None:
            assert type(self.rfile) is kind
            assert self.rfile.read(1) == b"x"
            left.append(len(self.connection.recv(1000, socket.MSG_DONTWAIT | socket.MSG_PEEK)))

    peer.client.sendall(b"x" * 20)
    if size < 0:
        with pytest.raises(BlockingIOError):  # all of it is in the buffer
            peer.run(Handler)
    else:
        peer.run(Handler)
        assert left == [20 - max(size, 1)]


def test_wbufsize_zero_sends_at_once(peer: Peer) -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            assert self.wfile.write(b"hello") == 5
            assert peer.client.recv(100) == b"hello"
            assert self.wfile.fileno() == self.connection.fileno()
            assert self.wfile.writable()

    peer.run(Handler)


def test_wbufsize_holds_back_until_finish(peer: Peer) -> None:
    class Handler(socketserver.StreamRequestHandler):
        wbufsize = 100

        def handle(self) -> None:
            self.wfile.write(b"hello")
            peer.client.setblocking(False)
            with pytest.raises(BlockingIOError):
                peer.client.recv(100)

    peer.run(Handler)
    assert peer.client.recv(100) == b"hello"


def test_unbuffered_write_sends_all_of_it(peer: Peer) -> None:
    data = b"x" * 5_000_000

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            assert self.wfile.write(memoryview(data)) == len(data)
            self.connection.shutdown(socket.SHUT_WR)

    reading = Call(read_all, peer.client)
    peer.run(Handler)
    assert reading.result() == data


def test_finish_bears_with_a_client_that_has_gone(peer: Peer) -> None:
    files = []

    class Handler(socketserver.StreamRequestHandler):
        wbufsize = 100

        def handle(self) -> None:
            self.wfile.write(b"hello")
            files.extend([self.rfile, self.wfile])
            peer.client.close()

    peer.run(Handler)
    assert all(file.closed for file in files)


def test_finish_leaves_alone_a_file_that_the_handler_closed(peer: Peer) -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.close()

    handler = peer.run(Handler)
    assert handler.rfile.closed


def test_handler_timeout_bounds_a_read(peer: Peer) -> None:
    class Handler(socketserver.StreamRequestHandler):
        timeout = 0.05

        def handle(self) -> None:
            with pytest.raises(TimeoutError):
                self.rfile.readline()

    peer.run(Handler)
    assert peer.request.gettimeout() == 0.05


@pytest.mark.parametrize("wanted", [False, True])
def test_disable_nagle_algorithm(serve: Serve, wanted: bool) -> None:
    class Handler(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = wanted

        def handle(self) -> None:
            no_delay = self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            self.wfile.write(b"yes" if no_delay else b"no")

    server = socketserver.TCPServer(LOCALHOST, Handler)
    serve(server)
    assert ask(server, b"") == (b"yes" if wanted else b"no")


def test_datagram_handler(serve: Serve, tmp_path: Path) -> None:
    class Handler(socketserver.DatagramRequestHandler):
        def handle(self) -> None:
            assert self.rfile.read() == self.packet
            assert self.socket is self.server.socket
            for part in b"one ", b"two":
                self.wfile.write(part)

    server = socketserver.UDPServer(LOCALHOST, Handler)
    serve(server)
    with datagram_client(server, tmp_path) as client:
        client.send(b"hello")
        assert client.recv(100) == b"one two"


def test_datagram_handler_answers_although_handle_raised(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Handler(socketserver.DatagramRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"so far")
            raise ValueError("no further")

    server = socketserver.UDPServer(LOCALHOST, Handler)
    serve(server)
    with datagram_client(server, tmp_path) as client:
        client.send(b"hello")
        assert client.recv(100) == b"so far"
    server.shutdown()
    assert "ValueError: no further" in capsys.readouterr().err


# Member variables of servers ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "family", "kind"),
    [
        ("TCPServer", socket.AF_INET, socket.SOCK_STREAM),
        ("UDPServer", socket.AF_INET, socket.SOCK_DGRAM),
        ("UnixStreamServer", socket.AF_UNIX, socket.SOCK_STREAM),
        ("UnixDatagramServer", socket.AF_UNIX, socket.SOCK_DGRAM),
    ],
)
def test_families_and_types(name: str, family: int, kind: int) -> None:
    server_class = getattr(socketserver, name)
    assert (server_class.address_family, server_class.socket_type) == (family, kind)
    with server_class(LOCALHOST, Line, bind_and_activate=False) as server:
        assert (server.socket.family, server.socket.type) == (family, kind)


@pytest.mark.parametrize("base", [socketserver.TCPServer, socketserver.UDPServer])
def test_address_family(serve: Serve, tmp_path: Path, base: type) -> None:
    handler = Line if base is socketserver.TCPServer else Upper
    server = subclass(base, address_family=socket.AF_INET6)(("::1", 0), handler)
    serve(server)
    assert server.server_address[0] == "::1"
    if handler is Line:
        assert ask(server, b"six\n") == b"SIX\n"
    else:
        with datagram_client(server, tmp_path) as client:
            client.send(b"six")
            assert client.recv(100) == b"SIX"


def test_socket_type(serve: Serve, tmp_path: Path) -> None:
    server = subclass(socketserver.UnixStreamServer, socket_type=socket.SOCK_SEQPACKET)(
        str(tmp_path / "server"), lambda request, *_: request.sendall(request.recv(100).upper())
    )
    serve(server)
    with connect(server) as client:
        client.send(b"packet")
        assert client.recv(100) == b"PACKET"


@pytest.mark.parametrize("only", [False, True])
def test_ipv6_only(serve: Serve, only: bool) -> None:
    server = subclass(socketserver.TCPServer, address_family=socket.AF_INET6, ipv6_only=only)(("::", 0), Line)
    serve(server)
    assert server.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == only
    with Client() as client:
        status = client.connect_ex(("127.0.0.1", server.server_address[1]))
    assert (status == errno.ECONNREFUSED) is only


@pytest.mark.parametrize("size", [1, 7])
def test_request_queue_size(closing: Closing, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    sizes = []

    class Socket(socket.socket):
        def listen(self, backlog: int = -1) -> None:
            sizes.append(backlog)
            super().listen(backlog)

    monkeypatch.setattr(socket, "socket", Socket)
    closing(subclass(socketserver.TCPServer, request_queue_size=size)(LOCALHOST, Line))
    closing(socketserver.TCPServer(LOCALHOST, Line))
    assert sizes == [size, socket.SOMAXCONN]


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("base", [socketserver.TCPServer, socketserver.UDPServer])
def test_allow_reuse_address(closing: Closing, base: type, wanted: bool) -> None:
    server = closing(subclass(base, allow_reuse_address=wanted)(LOCALHOST, Line))
    assert bool(server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) is wanted


@pytest.mark.parametrize("name", ["allow_reuse_port", "reuse_port"])
@pytest.mark.parametrize("base", [socketserver.TCPServer, socketserver.UDPServer])
def test_reuse_port(closing: Closing, base: type, name: str) -> None:
    server_class = subclass(base, **{name: True})
    first = closing(server_class(LOCALHOST, Line))
    second = closing(server_class(first.server_address, Line))
    assert second.server_address == first.server_address


def test_a_port_is_not_shared_unasked(closing: Closing) -> None:
    first = closing(socketserver.TCPServer(LOCALHOST, Line))
    with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
        socketserver.TCPServer(first.server_address, Line)


def test_reuse_port_says_nothing_to_unix_sockets(closing: Closing, tmp_path: Path) -> None:
    server_class = subclass(socketserver.UnixStreamServer, allow_reuse_port=True)
    closing(server_class(str(tmp_path / "server"), Line))


@pytest.mark.parametrize("name", ["UnixStreamServer", "UnixDatagramServer"])
def test_socket_mode(closing: Closing, tmp_path: Path, name: str) -> None:
    path = tmp_path / "server"
    closing(subclass(getattr(socketserver, name), socket_mode=0o620)(str(path), Line))
    assert stat.S_IMODE(path.stat().st_mode) == 0o620


@pytest.mark.parametrize("size", [1, 100, 65507])
def test_max_packet_size_is_what_still_passes(
    closing: Closing, tmp_path: Path, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = []
    server_class = subclass(socketserver.UDPServer, max_packet_size=size)
    server = closing(server_class(LOCALHOST, lambda request, *_: sizes.append(len(request[0]))))
    with datagram_client(server, tmp_path) as client:
        for length in size, min(size + 1, 65507), 0:
            client.send(b"x" * length)
            within(10, server.handle_request)
    assert sizes == ([size, 0] if size < 65507 else [size, size, 0])
    assert ("DatagramTooLongError" in capsys.readouterr().err) is (size < 65507)


# Threads --------------------------------------------------------------------------------------


class Held(socketserver.StreamRequestHandler):
    """Says that it is there, and stays until the client says that it goes."""

    def handle(self) -> None:
        self.server.threads = [*getattr(self.server, "threads", ()), threading.current_thread()]
        self.wfile.write(b"%d\n" % os.getpid())
        self.rfile.readline()


@pytest.mark.parametrize("daemon", [False, True])
def test_daemon_threads(serve: Serve, daemon: bool) -> None:
    server = subclass(socketserver.ThreadingTCPServer, daemon_threads=daemon)(LOCALHOST, Held)
    serve(server)
    assert ask(server, b"")
    assert [thread.daemon for thread in server.threads] == [daemon]


@pytest.mark.parametrize(
    ("members", "joins"), [({}, True), ({"block_on_close": False}, False), ({"daemon_threads": True}, False)]
)
def test_server_close_joins_threads(serve: Serve, members: dict[str, bool], joins: bool) -> None:
    server = subclass(socketserver.ThreadingTCPServer, **members)(LOCALHOST, Held)
    serve(server)
    with connect(server) as client:
        assert client.recv(100)
        server.shutdown()
        close = Call(server.server_close)
        close.join(0.1 if joins else 10)
        assert close.is_alive() is joins
    close.result()
    for thread in server.threads:
        thread.join(10)


def test_block_on_close_may_be_given_up_late(serve: Serve) -> None:
    server = socketserver.ThreadingTCPServer(LOCALHOST, Held)
    serve(server)
    with connect(server) as client:
        assert client.recv(100)
        server.shutdown()
        server.block_on_close = False
        within(5, server.server_close)


def test_threads_that_have_ended_are_forgotten(serve: Serve) -> None:
    server = socketserver.ThreadingTCPServer(LOCALHOST, Line)
    serve(server)
    for _ in range(100):
        assert ask(server, b"hello\n") == b"HELLO\n"
    assert len(server._threads) < 20


def test_process_request_thread_may_be_overridden(serve: Serve) -> None:
    calls = []

    class Server(socketserver.ThreadingTCPServer):
        def process_request_thread(self, request: Any, client_address: Any) -> None:
            calls.append(client_address)
            super().process_request_thread(request, client_address)

    server = Server(LOCALHOST, Line)
    serve(server)
    assert ask(server, b"hello\n") == b"HELLO\n"
    assert len(calls) == 1


def test_a_thread_that_cannot_be_started_fails_that_request_alone(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = socketserver.ThreadingTCPServer(LOCALHOST, Line)
    serve(server)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert ask(server, b"") == b""
    assert ask(server, b"hello\n") == b"HELLO\n"
    assert "can't start new thread" in capsys.readouterr().err


# Children -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, 0), (ValueError("broken"), 1), (KeyboardInterrupt(), 1), (SystemExit(0), 0), (SystemExit(3), 1)],
)
def test_exit_status_of_a_child(
    closing: Closing,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: BaseException | None,
    status: int,
) -> None:
    def handler(request: Any, client_address: Any, server: Any) -> None:
        request.sendall(str(os.getpid()).encode())
        if error is not None:
            raise error

    server = closing(socketserver.ForkingTCPServer(LOCALHOST, handler))
    with connect(server) as client:
        request, client_address = server.get_request()
        server.process_request(request, client_address)  # nothing polls, so nothing reaps
        pid = int(read_all(client))
    _, wait_status = os.waitpid(pid, 0)  # which the server bears with
    assert os.waitstatus_to_exitcode(wait_status) == status
    assert ("ValueError: broken" in capfd.readouterr().err) is isinstance(error, ValueError)
    server.collect_children()
    assert not server.active_children


def test_output_is_written_once_though_processes_fork() -> None:
    script = """
import socket
from plugport_builtins import socketserver

class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        print("child")

with socketserver.ForkingTCPServer(("127.0.0.1", 0), Handler) as server:
    print("parent")
    with socket.create_connection(server.server_address, timeout=10):
        server.handle_request()
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (sorted(run.stdout.split()), run.stderr) == (["child", "parent"], "")


def test_fork_from_among_threads_is_warned_of_once(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = socketserver.ForkingTCPServer(LOCALHOST, Line)
    serve(server)
    for _ in range(2):
        assert ask(server, b"hello\n") == b"HELLO\n"
    [message] = caplog.messages
    assert message.startswith("forking while 1 other thread of this process runs")


@pytest.mark.parametrize("kind", ["TCP", "UDP", "UnixStream", "UnixDatagram"])
@pytest.mark.parametrize("strategy", ["Threading", "Forking"])
def test_every_combined_class_serves(serve: Serve, tmp_path: Path, strategy: str, kind: str) -> None:
    stream = kind in ("TCP", "UnixStream")
    address = str(tmp_path / "server") if "Unix" in kind else LOCALHOST
    server = getattr(socketserver, f"{strategy}{kind}Server")(address, Line if stream else Upper)
    serve(server)
    for _ in range(3):
        if stream:
            assert ask(server, b"hello\n") == b"HELLO\n"
        else:
            with datagram_client(server, tmp_path) as client:
                client.send(b"hello")
                assert client.recv(100) == b"HELLO"


def test_a_child_has_let_go_of_the_listening_socket(serve: Serve) -> None:
    server = socketserver.ForkingTCPServer(LOCALHOST, Held)
    serve(server)
    with connect(server) as client:
        assert client.recv(100)
        server.shutdown()
        server.block_on_close = False
        server.server_close()
        with pytest.raises(ConnectionRefusedError):
            connect(server)
    wait_until(lambda: [server.collect_children()] and not server.active_children)


def test_children_are_reaped_while_nothing_happens(serve: Serve) -> None:
    server = socketserver.ForkingTCPServer(LOCALHOST, Line)
    serve(server, poll_interval=60)
    assert ask(server, b"hello\n") == b"HELLO\n"
    wait_until(lambda: not server.active_children)


@pytest.mark.parametrize("base", ["ForkingTCPServer", "ForkingUDPServer"])
def test_max_children(serve: Serve, tmp_path: Path, base: str) -> None:
    reader, writer = os.pipe()
    server = subclass(getattr(socketserver, base), max_children=2)(LOCALHOST, lambda *_: os.read(reader, 1))
    try:
        serve(server)
        clients = []
        for _ in range(4):
            if base == "ForkingTCPServer":
                clients.append(connect(server))
            else:
                with datagram_client(server, tmp_path) as client:
                    client.send(b"x")
        wait_until(lambda: len(server.active_children or ()) == 2)
        for left in 2, 2, 1, 0:  # each that goes makes room for one that waits
            before = set(server.active_children)
            os.write(writer, b"x")
            wait_until(partial(changed, server, before, left))
        for client in clients:
            assert is_closed(client)
            client.close()
    finally:
        os.close(writer)
        os.close(reader)


def changed(server: Any, before: set[int], left: int) -> bool:
    return server.active_children != before and len(server.active_children) == left


@pytest.mark.parametrize("waits", [True, False])
def test_server_close_waits_for_children(serve: Serve, waits: bool) -> None:
    server = subclass(socketserver.ForkingTCPServer, block_on_close=waits)(LOCALHOST, Held)
    serve(server)
    with connect(server) as client:
        assert client.recv(100)
        server.shutdown()
        close = Call(server.server_close)
        close.join(0.1 if waits else 10)
        assert close.is_alive() is waits
    close.result()
    wait_until(lambda: [server.collect_children()] and not server.active_children)


def test_handle_timeout_reaps(closing: Closing) -> None:
    server = closing(subclass(socketserver.ForkingTCPServer, timeout=0.01)(LOCALHOST, Line))
    assert ask_once(server, b"hello\n") == b"HELLO\n"
    for pid in set(server.active_children):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    server.handle_timeout()
    assert not server.active_children


def test_forking_default_timeout() -> None:
    assert socketserver.ForkingMixIn.timeout == standard.ForkingMixIn.timeout == 300
    assert socketserver.ForkingMixIn.max_children == standard.ForkingMixIn.max_children == 40


# Limits ---------------------------------------------------------------------------------------


def test_max_active_requests(serve: Serve) -> None:
    server = subclass(socketserver.ThreadingTCPServer, max_active_requests=1)(LOCALHOST, Held)
    serve(server)
    with connect(server) as first, connect(server) as second:
        assert first.recv(100)
        second.settimeout(0.1)
        with pytest.raises(TimeoutError):
            second.recv(100)
        first.close()
        second.settimeout(10)
        assert second.recv(100)


def test_hooks_are_none() -> None:
    with socketserver.TCPServer(LOCALHOST, Line) as server:
        assert server.hooks is NO_HOOKS
        assert not any(getattr(server.hooks, name) for name in server.hooks.__slots__)
