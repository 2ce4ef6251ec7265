"""Cases of a request's life and a server's: hooks, limits, timeouts, drain, shutdown, many clients."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import ClassVar

from plugport.combination import compose
from plugport.contracts import configure
from plugport.errors import OptionError
from plugport_testing.conformance.base import case
from plugport_testing.conformance.clients import Client
from plugport_testing.conformance.styled import StyledConformance
from plugport_testing.serving import resolve

__all__ = ["LifeCases"]


class LifeCases(StyledConformance):
    """Requests begin and end, are limited and are told of in the same way under every strategy."""

    #: Connections that the strategy holds open at the same time, unless it is serial.
    at_once: ClassVar[int] = 30
    #: Clients that come in one rush.
    client_count: ClassVar[int] = 1000

    # Hooks --------------------------------------------------------------------------------------

    def test_hooks(self, style: str) -> None:
        """The same story is told by the same hooks, in the same order."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                assert client.ask(b"hello") == b"hello"
            assert trial.outcomes() == ["completed"]
            with self.client(trial) as client:
                client.send(b"!raise\n")
                assert client.has_ended()
            assert trial.outcomes(2) == ["completed", "failed"]
            trial.verifier.verdict = False
            with self.client(trial) as client:
                assert client.has_ended()
            trial.drain(self.patience)
            trial.join()
            assert [name for name in trial.hook_names() if not name.startswith("child_")] == [
                "server_bound",
                "server_started",
                *("verify_request", "request_started", "request_finished"),
                *("verify_request", "request_started", "request_failed", "request_finished"),
                *("verify_request", "request_rejected"),
                "server_draining",
                "server_stopped",
            ]
            good, bad = trial.contexts("request_finished")
            assert trial.contexts("request_started") == [good, bad]
            assert (good.handler, good.server, good.error) == ("conformance", trial.server, None)
            assert "by order" in str(bad.error)

    def test_bytes_are_counted(self, style: str) -> None:
        """A request's context has the bytes that came and went, where the platform tells."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.send(b"hello\n!send 100000\n")
                client.write_eof()
                assert len(client.read_all()) == 100007
            trial.outcomes()
            [context] = trial.contexts("request_finished")
            counts = (context.bytes_received, context.bytes_sent)
            told = sys.platform == "linux" and trial.server.socket.family != socket.AF_UNIX
            assert counts == (19, 100007) if told else counts in [(19, 100007), (None, None)]

    def test_options_of_the_server(self) -> None:
        """Options that make no sense together for the server are refused, whatever the strategy checks."""

        def check_options() -> None:
            raise OptionError("no sense")

        server_class = type("Picky", (resolve("server", self.server),), {"check_options": check_options})
        try:
            configure(compose(server_class, resolve("concurrency", self.strategy)), self.options)
        except OptionError:
            return
        raise AssertionError(
            "check_options() of the server is not called: the strategy's must call super()'s"
        )

    # Limits -------------------------------------------------------------------------------------

    @case(concurrent=True)
    def test_max_active_requests(self, style: str) -> None:
        """When so many requests are active the next one waits, and is not turned away."""
        with self.serving(style, max_active_requests=2) as trial:
            with self.client(trial) as first, self.client(trial) as second, self.client(trial) as third:
                assert first.ask(b"hello") == b"hello"
                assert second.ask(b"hello") == b"hello"
                third.send(b"hello\n")
                third.sock.settimeout(0.03)
                with contextlib.suppress(TimeoutError):
                    raise AssertionError(f"a third one is not made to wait: {third.read_line()!r}")
                third.sock.settimeout(self.patience)
                assert len(trial.contexts("request_started")) == 2
                first.close()
                assert third.read_line() == b"hello"
            assert trial.outcomes(3) == ["completed"] * 3
            assert "request_rejected" not in trial.hook_names()

    def test_request_timeout(self, style: str) -> None:
        """A request that takes longer than ``request_timeout`` is cut, however busy it is."""
        with self.serving(style, request_timeout=0.1) as trial:
            with self.client(trial) as client:
                assert _ask_until_cut(client, self.patience), "the request goes on"
            assert trial.outcomes() == ["timed-out"]
            [context] = trial.contexts("request_finished")
            assert 0.09 < (context.duration or 0) < self.patience / 2
            if not self.is_serial:
                # On a slow machine the next may be cut, too.
                self.wait_until(lambda: _is_answered(self.client(trial)), "a request that is in time")

    def test_idle_timeout(self, style: str) -> None:
        """A connection on which nothing comes or goes for ``idle_timeout`` is cut; a busy one is not."""
        timeout = 0.12
        while not self._idle_timeout_holds(style, timeout):
            timeout *= 3  # this machine is too slow to tell
            assert timeout < self.patience, "a client that is busy was cut"

    def _idle_timeout_holds(self, style: str, timeout: float) -> bool:
        with self.serving(style, idle_timeout=timeout) as trial:
            with self.client(trial) as client:
                pause = last = 0.0
                begin = time.monotonic()
                while time.monotonic() < begin + 1.5 * timeout:
                    with contextlib.suppress(ConnectionError):
                        if client.ask(b"hello") != b"hello":
                            break
                    pause = max(pause, time.monotonic() - (last or begin))
                    last = time.monotonic()
                    time.sleep(timeout / 6)
                else:
                    assert client.has_ended()
                    assert trial.outcomes() == ["timed-out"]
                    return True
            assert pause > timeout / 2, f"cut after {timeout:g} s, although it was never so long idle"
            return False

    # The end ------------------------------------------------------------------------------------

    def test_drain_finishes_what_is_active(self, style: str) -> None:
        """While a server drains, the requests that it has go on to their end; it listens no more."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                assert client.ask(b"hello") == b"hello"
                trial.drain(self.patience)
                if not self.is_serial:
                    self.wait_until(lambda: trial.server.fileno() < 0, "the end of listening")
                assert client.ask(b"still there?") == b"still there?"
                assert trial.is_serving()
            trial.join()
            assert trial.outcomes() == ["completed"]

    def test_drain_serves_the_backlog(self, style: str) -> None:
        """Who has connected before a server drains is served."""
        with self.serving(style, max_active_requests=1) as trial, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.client(trial)) for _ in range(5)]
            assert clients[0].ask(b"hello") == b"hello"
            trial.drain(self.patience)
            for client in clients:
                assert client.ask(b"hello") == b"hello"
                client.close()
            trial.join()
            assert trial.outcomes() == ["completed"] * 5

    @case(concurrent=True)
    def test_drain_aborts_at_the_deadline(self, style: str) -> None:
        """What has not ended by the deadline of a drain is cut, told of as aborted, and logged in a line."""
        with self.serving(style) as trial, _logged("plugport.request") as lines:
            with self.client(trial) as idle, self.client(trial) as busy:
                assert idle.ask(b"hello") == b"hello"
                busy.send(b"!send 100000000\n")
                self.wait_until(lambda: trial.progress.made, "an answer")
                trial.drain(0.05)
                assert idle.has_ended()
                trial.join()
            assert trial.outcomes(2) == ["aborted"] * 2
            ids = sorted(str(context.id) for context in trial.contexts("request_finished"))
            assert sorted(line.split()[1] for line in lines) == ids, lines

    def test_shutdown(self, style: str) -> None:
        """After shutdown() and server_close() no request is left, whatever it was at; no service helps."""
        with self.serving(style, start=False) as trial:
            server = trial.server
            serving = threading.Thread(target=server.serve_forever, daemon=True)
            serving.start()
            with self.client(trial) as client:
                assert client.ask(b"hello") == b"hello"
                if not self.is_serial:
                    self.within("shutdown()", server.shutdown)
            self.within("shutdown()", server.shutdown)
            self.within("serve_forever()", serving.join)
            self.within("server_close()", server.server_close)
            assert server.active_requests == {}

    # Numbers ------------------------------------------------------------------------------------

    @case(concurrent=True)
    def test_clients_at_once(self, style: str) -> None:
        """So many connections are open at once, and all are served."""
        with self.serving(style) as trial, contextlib.ExitStack() as stack, _room_for(2 * self.at_once):
            clients = [stack.enter_context(self.client(trial)) for _ in range(self.at_once)]
            for client in clients:
                assert client.ask(b"hello") == b"hello"
            assert len(trial.server.active_requests) == self.at_once
            for client in clients[::-1]:
                assert client.ask(b"again") == b"again"

    def test_many_clients(self, style: str) -> None:
        """Many clients in one rush are served, at once or one after the other."""
        with self.serving(style) as trial, _room_for(2 * self.client_count), contextlib.ExitStack() as stack:
            clients = []
            for _ in range(self.client_count):
                client = stack.enter_context(self.client(trial))
                client.send(b"hello\n")
                client.write_eof()
                clients.append(client)
            for client in clients:
                assert client.read_all() == b"hello\n"
                client.close()
            assert trial.outcomes(self.client_count) == ["completed"] * self.client_count

    def test_listeners(self, style: str) -> None:
        """Several servers are served together, and stop together."""
        with self.serving(style, listeners=3) as trial:
            for index in (2, 0, 1, 0):
                with self.client(trial, index) as client:
                    assert client.ask(b"hello") == b"hello"
            assert trial.outcomes(4) == ["completed"] * 4
            trial.drain(self.patience)
            trial.join()


def _ask_until_cut(client: Client, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    with contextlib.suppress(ConnectionError):
        while client.ask(b"hello") == b"hello":
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
    return True


def _is_answered(client: Client) -> bool:
    with client, contextlib.suppress(ConnectionError):
        return client.ask(b"hello") == b"hello"
    return False


@contextlib.contextmanager
def _logged(name: str) -> Iterator[list[str]]:
    """Collect the messages of information, and of worse, that the logger of that name has meanwhile."""
    logger, lines = logging.getLogger(name), list[str]()
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


@contextlib.contextmanager
def _room_for(descriptors: int) -> Iterator[None]:
    """Raise the soft limit of descriptors meanwhile, as far as the hard one lets it."""
    try:
        import resource
    except ImportError:  # another platform has another limit
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, descriptors + 200)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
