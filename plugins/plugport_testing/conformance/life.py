"""Cases of how requests and servers begin and end: hooks, limits, timeouts, drain, shutdown, many clients."""

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
from plugport.handlers import Style
from plugport_testing.clients import socket_of
from plugport_testing.conformance.base import Needs
from plugport_testing.conformance.clients import Client
from plugport_testing.conformance.styled import StyledConformance
from plugport_testing.serving import resolve

__all__ = ["LifeCases"]


class LifeCases(StyledConformance):
    """Requests begin and end, are limited and are reported in the same way under every strategy."""

    #: Connections that the strategy serves at the same time, unless it is serial.
    at_once: ClassVar[int] = 30
    #: Clients that connect in one burst.
    client_count: ClassVar[int] = 1000

    # Hooks --------------------------------------------------------------------------------------

    def test_hooks(self, style: Style) -> None:
        """A completed, a failed and a rejected request call the same hooks in the same order everywhere."""
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
            assert "on request" in str(bad.error)

    def test_bytes_are_counted(self, style: Style) -> None:
        """A request record has the bytes received and sent, where the platform counts them."""
        with self.serving(style) as trial:
            with self.client(trial) as client:
                client.send(b"hello\n!send 100000\n")
                client.write_eof()
                assert len(client.read_all()) == 100007
            trial.outcomes()
            [context] = trial.contexts("request_finished")
            counts = (context.bytes_received, context.bytes_sent)
            counted = sys.platform == "linux" and socket_of(trial.servers[0]).family != socket.AF_UNIX
            assert counts == (19, 100007) if counted else counts in [(19, 100007), (None, None)]

    def test_options_of_the_server(self) -> None:
        """The server's check_options() is called, also if the strategy has one of its own."""

        def check_options() -> None:
            raise OptionError("refused by the test")

        server_class = type("Picky", (resolve("server", self.server),), {"check_options": check_options})
        try:
            configure(compose(server_class, resolve("concurrency", self.strategy)), self.options)
        except OptionError:
            return
        raise AssertionError(
            "check_options() of the server is not called: the strategy's must call super()'s"
        )

    # Limits -------------------------------------------------------------------------------------

    @Needs(concurrent=True)
    def test_max_active_requests(self, style: Style) -> None:
        """When ``max_active_requests`` requests are active, the next one waits and is not rejected."""
        with self.serving(style, max_active_requests=2) as trial:
            with self.client(trial) as first, self.client(trial) as second, self.client(trial) as third:
                assert first.ask(b"hello") == b"hello"
                assert second.ask(b"hello") == b"hello"
                third.send(b"hello\n")
                third.sock.settimeout(0.03)
                with contextlib.suppress(TimeoutError):
                    raise AssertionError(f"a third request does not wait: it gets {third.read_line()!r}")
                third.sock.settimeout(self.patience)
                assert len(trial.contexts("request_started")) == 2
                first.close()
                assert third.read_line() == b"hello"
            assert trial.outcomes(3) == ["completed"] * 3
            assert "request_rejected" not in trial.hook_names()

    def test_request_timeout(self, style: Style) -> None:
        """A request that takes longer than ``request_timeout`` is aborted, also while data flows."""
        with self.serving(style, request_timeout=0.1) as trial:
            with self.client(trial) as client:
                assert _ask_until_aborted(client, self.patience), "the request is not aborted"
            assert trial.outcomes() == ["timed-out"]
            [context] = trial.contexts("request_finished")
            assert 0.09 < (context.duration or 0) < self.patience / 2
            if not self.is_serial:
                # On a slow machine the next request may exceed the timeout too.
                self.wait_until(lambda: _is_answered(self.client(trial)), "a request within the timeout")

    def test_idle_timeout(self, style: Style) -> None:
        """A connection without traffic for ``idle_timeout`` is aborted; one with traffic is not."""
        timeout = 0.12
        while not self._idle_timeout_holds(style, timeout):
            timeout *= 3  # this machine is too slow for a shorter one
            assert timeout < self.patience, "a connection with traffic was aborted"

    def _idle_timeout_holds(self, style: Style, timeout: float) -> bool:
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
            assert pause > timeout / 2, f"aborted by idle_timeout {timeout:g} s, but never idle so long"
            return False

    # The end ------------------------------------------------------------------------------------

    def test_drain_finishes_what_is_active(self, style: Style) -> None:
        """A server that drains stops listening, and its active requests go on to their end."""
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

    def test_drain_serves_the_backlog(self, style: Style) -> None:
        """Clients that connected before the drain are served."""
        with self.serving(style, max_active_requests=1) as trial, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.client(trial)) for _ in range(5)]
            assert clients[0].ask(b"hello") == b"hello"
            trial.drain(self.patience)
            for client in clients:
                assert client.ask(b"hello") == b"hello"
                client.close()
            trial.join()
            assert trial.outcomes() == ["completed"] * 5

    @Needs(concurrent=True)
    def test_drain_aborts_at_the_deadline(self, style: Style) -> None:
        """Requests active at the deadline of a drain are aborted, and each is logged in one line."""
        with self.serving(style) as trial, _logged("plugport.request") as lines:
            with self.client(trial) as idle, self.client(trial) as busy:
                assert idle.ask(b"hello") == b"hello"
                busy.send(b"!send 100000000\n")
                self.wait_until(lambda: trial.progress.made, "a reply")
                trial.drain(0.05)
                assert idle.has_ended()
                trial.join()
            assert trial.outcomes(2) == ["aborted"] * 2
            ids = sorted(str(context.id) for context in trial.contexts("request_finished"))
            assert sorted(line.split()[1] for line in lines) == ids, lines

    def test_shutdown(self, style: Style) -> None:
        """shutdown() and server_close() end all requests, also without a Service."""
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

    @Needs(concurrent=True)
    def test_clients_at_once(self, style: Style) -> None:
        """``at_once`` connections are open at the same time, and all are served."""
        with self.serving(style) as trial, contextlib.ExitStack() as stack, _room_for(2 * self.at_once):
            clients = [stack.enter_context(self.client(trial)) for _ in range(self.at_once)]
            for client in clients:
                assert client.ask(b"hello") == b"hello"
            assert len(trial.server.active_requests) == self.at_once
            for client in clients[::-1]:
                assert client.ask(b"again") == b"again"

    def test_many_clients(self, style: Style) -> None:
        """``client_count`` clients that connect in one burst are all served."""
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

    def test_listeners(self, style: Style) -> None:
        """Several servers are served together, and stop together."""
        with self.serving(style, listeners=3) as trial:
            for index in (2, 0, 1, 0):
                with self.client(trial, index) as client:
                    assert client.ask(b"hello") == b"hello"
            assert trial.outcomes(4) == ["completed"] * 4
            trial.drain(self.patience)
            trial.join()


def _ask_until_aborted(client: Client, timeout: float) -> bool:
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


class _Collector(logging.Handler):
    """Appends the message of each log record to a list."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


@contextlib.contextmanager
def _logged(name: str) -> Iterator[list[str]]:
    """Collect the messages of level INFO and above that the logger *name* gets in the block."""
    logger, lines = logging.getLogger(name), list[str]()
    handler = _Collector(lines)
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
    """Raise the soft limit of open descriptors in the block, up to the hard limit."""
    try:
        import resource
    except ImportError:  # a platform without this limit
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
