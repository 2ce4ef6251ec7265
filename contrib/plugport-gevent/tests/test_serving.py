"""The strategy in a process that is not patched: what greenlets share, and how they end."""

from __future__ import annotations

import http.server
import os
import select
import socket
import threading
import urllib.request
from typing import Any

import gevent
import pytest
from plugport import BaseRequestHandler, StreamRequestHandler, compose
from plugport_testing.plugin import Serve
from plugport_testing.waiting import PATIENCE, wait_until, within

from plugport_gevent.sockets import as_connection_socket


class Counts(StreamRequestHandler):
    """Keeps state, and lets others run in the middle of a change, which the lock guards."""

    shared_state = True

    def handle(self) -> None:
        state = self.server.state
        for _ in self.rfile:
            with self.server.lock, self.server.lock:
                count = getattr(state, "count", 0)
                gevent.sleep(0.001)
                state.count = count + 1
            self.wfile.write(b"%d\n" % state.count)


def test_the_lock_keeps_greenlets_apart(plugport_serve: Serve) -> None:
    service = plugport_serve(Counts, concurrency="gevent")
    clients = [service.connect() for _ in range(10)]
    for client in clients:
        client.sendall(b"\n" * 3)
    for client in clients:
        client.shutdown(socket.SHUT_WR)
        while client.recv(100):
            pass
    assert service.server.state.count == 30


class Ends(StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            if line == b"exit\n":
                raise SystemExit(3)
            if line == b"stop\n":
                self.server.shutdown()
            self.wfile.write(line)


def test_system_exit_ends_the_request_alone(plugport_serve: Serve, capfd: Any) -> None:
    service = plugport_serve(Ends, concurrency="gevent")
    other = service.connect()
    assert service.exchange(b"exit\n") == b""
    other.send(b"hello\n")
    assert other.recv(100) == b"hello\n"
    assert service.wait_for_event("request_finished")["context"].outcome == "aborted"
    assert capfd.readouterr().err == ""


def test_a_handler_may_call_shutdown(plugport_serve: Serve) -> None:
    service = plugport_serve(Ends, concurrency="gevent")
    client = service.connect()
    client.send(b"stop\n")
    assert client.recv(100) in (b"stop\n", b"")
    wait_until(lambda: not service.is_serving(), PATIENCE, "the end")


def test_what_nobody_catches_is_the_servers_end(capfd: Any) -> None:
    class Unheard(BaseException):
        pass

    class Breaks(BaseRequestHandler):
        def handle(self) -> None:
            raise Unheard

    server: Any = compose("tcp", "gevent")(("127.0.0.1", 0), Breaks)
    raised = []

    def serve() -> None:
        try:
            server.serve_forever()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    with socket.create_connection(server.server_address, timeout=PATIENCE) as client:
        assert client.recv(100) == b""
    thread.join(PATIENCE)
    server.server_close()
    assert [type(error) for error in raised] == [Unheard]
    assert server.active_requests == {}


class Waits(StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"here\n")
        gevent.sleep(1000)


def test_shutdown_ends_those_who_wait_elsewhere() -> None:
    server: Any = compose("tcp", "gevent")(("127.0.0.1", 0), Waits)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with socket.create_connection(server.server_address, timeout=PATIENCE) as client:
        assert client.recv(100) == b"here\n"
        [context] = server.active_requests.values()
        within(PATIENCE, "shutdown()", server.shutdown)
        within(PATIENCE, "serve_forever()", thread.join)
        assert context.outcome == "aborted"
        assert server.active_requests == {}
        assert client.recv(100) == b""
    # It can serve again, in another thread, whose hub is another.
    again = threading.Thread(target=server.serve_forever)
    again.start()
    with socket.create_connection(server.server_address, timeout=PATIENCE) as client:
        assert client.recv(100) == b"here\n"
    within(PATIENCE, "shutdown()", server.shutdown)
    within(PATIENCE, "serve_forever()", again.join)
    server.server_close()


def test_in_a_greenlet_of_an_application() -> None:
    server: Any = compose("tcp", "gevent")(("127.0.0.1", 0), Ends)
    serving = gevent.spawn(server.serve_forever)
    with gevent.Timeout(PATIENCE):
        with gevent.socket.create_connection(server.server_address) as client:
            client.sendall(b"hello\n")
            assert client.recv(100) == b"hello\n"
        server.shutdown()
        serving.join()
    server.server_close()


def test_handle_request() -> None:
    server: Any = compose("tcp", "gevent")(("127.0.0.1", 0), Ends)
    with socket.create_connection(server.server_address, timeout=PATIENCE) as client:
        client.sendall(b"hello\n")
        client.shutdown(socket.SHUT_WR)
        within(PATIENCE, "handle_request()", server.handle_request)
        assert client.recv(100) == b"hello\n"
    server.timeout = 0.01
    server.handle_request()
    server.server_close()


def test_a_server_of_the_standard_library(plugport_serve: Serve, tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(b"content")

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *arguments: Any) -> None:
            pass

    service = plugport_serve(Files, "tcp://127.0.0.1:0", "gevent", server=http.server.HTTPServer)
    port = service.address[1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/file", timeout=PATIENCE) as answer:
        assert answer.read() == b"content"


class Replies(BaseRequestHandler):
    def handle(self) -> None:
        message, sock = self.request
        for _ in range(int(message)):
            sock.sendto(b"x" * 1000, self.client_address)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no unix sockets")
def test_replies_wait_for_peers_that_take_their_time(plugport_serve: Serve) -> None:
    service = plugport_serve(Replies, "unixgram", "gevent")
    peers = [service.connect() for _ in range(3)]
    for peer in peers:
        peer.send(b"500")
    service.wait_for_event("request_started", count=3)
    counts = dict.fromkeys(peers, 0)
    while sum(counts.values()) < 1500:
        # Whoever has one: what is unread fills the one buffer that all are sent from.
        ready, _, _ = select.select(peers, [], [], PATIENCE)
        assert ready, counts
        for peer in ready:
            assert len(peer.recv(2000)) == 1000
            counts[peer] += 1
    assert set(counts.values()) == {500}


def test_descriptors_are_given_back(plugport_serve: Serve) -> None:
    service = plugport_serve(Ends, concurrency="gevent")
    service.exchange(b"hello\n")
    before = len(os.listdir("/dev/fd"))
    for _ in range(50):
        service.exchange(b"hello\n")
    service.wait_for_event("request_finished", count=51)
    wait_until(lambda: len(os.listdir("/dev/fd")) <= before, PATIENCE, "descriptors to be closed")


class Chatters(StreamRequestHandler):
    def handle(self) -> None:
        while True:
            self.request.sendall(b"x" * 4096)


def test_a_client_that_takes_all_at_once_starves_nobody(plugport_serve: Serve) -> None:
    service = plugport_serve(Chatters, concurrency="gevent")
    greedy = service.connect()
    taken = 0

    def take() -> None:
        nonlocal taken
        while data := greedy.recv(2**20):
            taken += len(data)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    wait_until(lambda: taken > 2**20, PATIENCE, "data")
    for _ in range(5):
        with service.connect() as other:
            assert other.recv(10)
    service.server.drain(0.0)
    thread.join(PATIENCE)


class Who(BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(self.client_address[0].encode() + self.request.recv(100))


def test_a_proxys_header_comes_before_the_request(plugport_serve: Serve) -> None:
    options = {"proxy_protocol": True, "proxy_trusted": ("127.0.0.1",)}
    service = plugport_serve(Who, concurrency="gevent", **options)
    with service.connect() as client:
        client.sendall(b"PROXY TCP4 203.0.113.7 127.0.0.1 ")
        client.sendall(b"50123 443\r\nhello")
        assert client.recv(100) == b"203.0.113.7hello"


@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_RDWR])
def test_who_waits_to_receive_sees_the_end_when_another_ends_reading(how: int) -> None:
    ours, theirs = socket.socketpair()
    with theirs, as_connection_socket(ours) as sock:
        waiting = gevent.spawn(sock.recv, 100)
        gevent.sleep(0)
        assert not waiting.dead
        sock.shutdown(how)
        assert waiting.get(timeout=PATIENCE) == b""
