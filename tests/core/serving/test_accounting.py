"""The account of a request: its hooks and their order, its outcome, and the reasons to turn it away."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from clients import read_all
from patience import wait_until
from recording import Recorder

from plugport.contracts.hooks import NO_HOOKS, SERVER_HOOKS, ServerHooks
from plugport.contracts.requests import RequestContext, outcome_of, traffic
from plugport.errors import DatagramTooLongError
from plugport.handlers.framing import FramingError
from plugport.serving.server import BaseServer

CLIENT = ("192.0.2.1", 1024)


class Request:
    """Stands for a connection."""

    closed = False


class Server(BaseServer):
    """A server that takes its requests from the test."""

    handler_name = "upper"

    def __init__(self, handler: Any = None, **members: Any) -> None:
        super().__init__("nowhere", handler or (lambda request, client_address, server: None))
        self.shut: list[Any] = []
        self.errors: list[BaseException | None] = []
        vars(self).update(members)

    def close_request(self, request: Any) -> None:
        self.shut.append(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.errors.append(sys.exception())


@pytest.fixture
def server(recorder: Recorder) -> Server:
    return Server(hooks=recorder.hooks)


def raising(error: BaseException) -> Any:
    def raise_it(*args: Any, **kwargs: Any) -> Any:
        raise error

    return raise_it


# Begin ----------------------------------------------------------------------------------------


def test_begin_opens_the_account(server: Server, recorder: Recorder) -> None:
    request = Request()
    before = time.time()
    context = server.begin_request(request, CLIENT)
    assert context is not None
    assert list(server.active_requests.values()) == [context]
    assert recorder.calls == [
        ("verify_request", {"server": server, "request": request, "client_address": CLIENT}),
        ("request_started", {"context": context}),
    ]
    assert (context.server, context.request, context.client_address) == (server, request, CLIENT)
    assert context.handler == "upper"
    assert before <= context.started_at <= time.time()
    assert (context.outcome, context.error, context.duration) == (None, None, None)


def test_ids_count_up(server: Server) -> None:
    contexts = [server.begin_request(Request(), CLIENT) for _ in range(3)]
    first, *others = [context.id for context in contexts if context is not None]
    assert others == [first + 1, first + 2]


@pytest.mark.parametrize("answer", [False, 0, None, ""])
def test_the_server_turns_a_request_away(server: Server, recorder: Recorder, answer: Any) -> None:
    server.verify_request = lambda request, client_address: answer  # type: ignore[method-assign]
    assert server.begin_request(Request(), CLIENT) is None
    reason = "the server's verify_request returned False"
    assert recorder.calls == [  # and no plugin is asked
        ("request_rejected", {"server": server, "client_address": CLIENT, "reason": reason})
    ]
    assert server.active_requests == {}


def test_a_hook_turns_a_request_away(server: Server, recorder: Recorder) -> None:
    recorder.verdict = False
    assert server.begin_request(Request(), CLIENT) is None
    assert recorder.requests == ["rejected"]
    assert recorder.of("request_rejected")[0]["reason"] == "a verify_request hook returned False"
    assert server.active_requests == {}


def test_a_hook_may_say_why_it_turns_a_request_away(server: Server, recorder: Recorder) -> None:
    recorder.verdict = "banned"
    assert server.begin_request(Request(), CLIENT) is None
    assert recorder.of("request_rejected")[0]["reason"] == "banned"


def test_a_verify_request_that_raises_turns_the_request_away(server: Server, recorder: Recorder) -> None:
    error = LookupError("no such list")
    server.verify_request = raising(error)  # type: ignore[method-assign]
    assert server.begin_request(Request(), CLIENT) is None
    assert server.errors == [error]
    assert recorder.requests == ["rejected"]
    assert recorder.of("request_rejected")[0]["reason"] == "the server's verify_request raised"


def test_a_full_server_turns_a_request_away(server: Server, recorder: Recorder) -> None:
    server.max_active_requests = 2
    requests = [Request() for _ in range(3)]
    began = [server.begin_request(request, CLIENT) is not None for request in requests]
    assert began == [True, True, False]
    assert recorder.of("request_rejected")[0]["reason"] == "the limit of active requests is reached"
    assert not server.has_room()
    server.end_request(requests[0])
    assert server.has_room()


def test_no_limit_by_default(server: Server) -> None:
    requests = [Request() for _ in range(1000)]
    assert all(server.begin_request(request, CLIENT) for request in requests)


def test_equal_datagrams_are_different_requests(server: Server, recorder: Recorder) -> None:
    requests = [(bytes([120]), None), (bytes([120]), None)]
    for request in requests:
        server.begin_request(request, CLIENT)
    assert len(server.active_requests) == 2
    for request in requests:
        server.end_request(request)
    assert recorder.outcomes == ["completed", "completed"]


# Fail and end ---------------------------------------------------------------------------------


def test_end_closes_the_account_once(server: Server, recorder: Recorder) -> None:
    request = Request()
    context = server.begin_request(request, CLIENT)
    for _ in range(2):
        server.end_request(request)
    assert server.active_requests == {}
    assert recorder.requests == ["started", "finished"]
    assert recorder.of("request_finished") == [{"context": context}]
    assert context is not None
    assert context.outcome == "completed"
    assert context.duration is not None
    assert 0 <= context.duration < 10


OUTCOMES = [
    (ValueError("broken"), "failed"),
    (OSError("disk full"), "failed"),
    (TimeoutError("timed out"), "timed-out"),
    (ConnectionResetError(), "aborted"),
    (BrokenPipeError(), "aborted"),
    (ConnectionAbortedError(), "aborted"),
    (ssl.SSLEOFError(), "failed"),
    (SystemExit(1), "aborted"),
    (KeyboardInterrupt(), "aborted"),
]


@pytest.mark.parametrize(("error", "outcome"), OUTCOMES, ids=lambda value: str(value) or repr(value))
def test_the_outcome_is_named_after_the_error(
    server: Server, recorder: Recorder, error: BaseException, outcome: str
) -> None:
    assert outcome_of(error) == outcome
    request = Request()
    context = server.begin_request(request, CLIENT)
    assert context is not None
    server.fail_request(request, error)
    assert (context.outcome, context.error) == (outcome, error)
    assert request in [context.request for context in server.active_requests.values()]
    server.end_request(request)
    assert recorder.requests == ["started", "failed", "finished"]
    assert recorder.of("request_failed") == [{"context": context, "error": error}]
    assert recorder.outcomes == [outcome]


def test_the_first_error_counts(server: Server, recorder: Recorder) -> None:
    request, first, second = Request(), TimeoutError(), ValueError()
    server.begin_request(request, CLIENT)
    server.fail_request(request, first)
    server.fail_request(request, second)
    assert [call["error"] for call in recorder.of("request_failed")] == [first]


def test_an_outcome_that_is_known_stays(server: Server, recorder: Recorder) -> None:
    request = Request()
    context = server.begin_request(request, CLIENT)
    assert context is not None
    context.outcome = "aborted"
    server.fail_request(request, ValueError("of a connection that was cut"))
    server.end_request(request)
    assert recorder.outcomes == ["aborted"]


def test_what_never_began_neither_fails_nor_ends(server: Server, recorder: Recorder) -> None:
    server.fail_request(Request(), ValueError())
    server.end_request(Request())
    assert recorder.calls == []


def test_shutdown_request_ends_the_account(server: Server, recorder: Recorder) -> None:
    request = Request()
    server.begin_request(request, CLIENT)
    server.shutdown_request(request)
    assert recorder.outcomes == ["completed"]
    assert server.shut == [request]


# Run ------------------------------------------------------------------------------------------


def run(server: Server) -> Request:
    request = Request()
    server.begin_request(request, CLIENT)
    server.run_request(request, CLIENT)
    return request


def test_run_completes(server: Server, recorder: Recorder) -> None:
    calls = []
    server.RequestHandlerClass = lambda *arguments: calls.append(arguments)
    request = run(server)
    assert calls == [(request, CLIENT, server)]
    assert recorder.requests == ["started", "finished"]
    assert server.shut == [request]
    assert server.errors == []


def test_run_takes_what_the_handler_raises(server: Server, recorder: Recorder) -> None:
    error = ValueError("broken")
    server.RequestHandlerClass = raising(error)
    request = run(server)
    assert recorder.requests == ["started", "failed", "finished"]
    assert server.shut == [request]
    assert server.errors == [error]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_run_closes_before_it_lets_through_what_is_no_exception(
    server: Server, recorder: Recorder, error: BaseException
) -> None:
    server.RequestHandlerClass = raising(error)
    with pytest.raises(type(error)):
        run(server)
    assert recorder.requests == ["started", "failed", "finished"]
    assert recorder.outcomes == ["aborted"]
    assert len(server.shut) == 1
    assert server.errors == []


def test_finished_comes_although_handle_error_raises(
    server: Server, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    server.RequestHandlerClass = raising(ValueError("broken"))
    server.handle_error = raising(RuntimeError("also broken"))  # type: ignore[method-assign]
    run(server)
    assert recorder.requests == ["started", "failed", "finished"]
    assert "handle_error of Server raised" in caplog.text
    assert "also broken" in caplog.text


def test_finished_comes_although_shutdown_request_raises(server: Server, recorder: Recorder) -> None:
    server.shutdown_request = raising(OSError("can't close"))  # type: ignore[method-assign]
    with pytest.raises(OSError, match="can't close"):
        run(server)
    assert recorder.requests == ["started", "finished"]


def test_failed_comes_although_handle_error_is_overridden(server: Server, recorder: Recorder) -> None:
    server.RequestHandlerClass = raising(ValueError("broken"))
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    run(server)
    assert recorder.requests == ["started", "failed", "finished"]


# Traffic --------------------------------------------------------------------------------------


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a TCP connection: the server's, the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        request, _ = listener.accept()
    with client, request:
        client.settimeout(10)
        request.settimeout(10)
        yield request, client


def test_traffic_of_a_connection(connection: tuple[socket.socket, socket.socket]) -> None:
    request, client = connection
    assert traffic(request) == (0, 0)
    client.sendall(b"x" * 1000)
    wait_until(lambda: traffic(request)[0] == 1000)
    request.sendall(b"y" * 300)
    wait_until(lambda: traffic(request) == (1000, 300))


def test_traffic_does_not_count_the_end_of_the_stream(
    connection: tuple[socket.socket, socket.socket],
) -> None:
    request, client = connection
    client.sendall(b"x" * 10)
    client.shutdown(socket.SHUT_WR)
    assert read_all(request) == b"x" * 10
    request.sendall(b"y")
    assert traffic(request) == (10, 1)


def test_traffic_of_a_datagram() -> None:
    assert traffic((b"hello", None)) == (5, None)


def test_traffic_that_nobody_knows(no_leaks: None) -> None:
    assert traffic(object()) == (None, None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert traffic(ours) == (None, None)
    assert traffic(ours) == (None, None)


def test_finished_knows_the_traffic(
    server: Server, recorder: Recorder, connection: tuple[socket.socket, socket.socket]
) -> None:
    request, client = connection
    client.sendall(b"hello")
    server.begin_request(request, CLIENT)
    assert request.recv(100) == b"hello"
    request.sendall(b"good day")
    server.end_request(request)
    [call] = recorder.of("request_finished")
    assert (call["context"].bytes_received, call["context"].bytes_sent) == (5, 8)


def test_traffic_that_is_known_already_stays(server: Server, recorder: Recorder) -> None:
    request = (b"hello", None)
    context = server.begin_request(request, CLIENT)
    assert context is not None
    context.bytes_received, context.bytes_sent = 7, 9
    server.end_request(request)
    assert (context.bytes_received, context.bytes_sent) == (7, 9)


# Reports --------------------------------------------------------------------------------------


class Reporting(Server):
    handle_error = BaseServer.handle_error


def report(server: Server, error: Exception) -> RequestContext:
    request = Request()
    context = server.begin_request(request, CLIENT)
    assert context is not None
    try:
        raise error
    except Exception:
        server.handle_error(request, CLIENT)
    return context


def test_on_its_own_a_server_reports_to_stderr(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    report(Reporting(), ValueError("broken"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == f"Exception occurred during processing of request from {CLIENT}"
    assert lines[-2] == "ValueError: broken"
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "level", "traced"),
    [
        (ValueError("broken"), logging.ERROR, True),
        (FramingError("a message longer than it may be"), logging.ERROR, False),
        (TimeoutError("timed out"), logging.INFO, False),
        (ConnectionResetError("reset"), logging.INFO, False),
    ],
)
def test_in_a_service_it_reports_to_the_log(
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    level: int,
    traced: bool,
) -> None:
    caplog.set_level(logging.INFO)
    context = report(Reporting(hooks=recorder.hooks), error)
    [record] = caplog.records
    assert record.levelno == level
    assert f"request {context.id} from 192.0.2.1:1024" in record.message
    assert str(error) in caplog.text
    assert (record.exc_info is not None) is traced
    assert capsys.readouterr().err == ""
    assert recorder.requests == ["started", "failed"]


def test_in_a_service_it_reports_what_failed_before_it_began(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    server = Reporting(hooks=recorder.hooks)
    server.verify_request = raising(LookupError("no such list"))  # type: ignore[method-assign]
    server.begin_request(Request(), CLIENT)
    assert "no such list" in caplog.text
    assert "192.0.2.1:1024" in caplog.text


def test_in_a_service_rejections_are_logged(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    recorder.verdict = False
    Server(hooks=recorder.hooks).begin_request(Request(), CLIENT)
    assert caplog.messages == ["rejected 192.0.2.1:1024: a verify_request hook returned False"]


def test_on_its_own_a_server_logs_no_rejections(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = Server()
    server.verify_request = lambda request, client_address: False  # type: ignore[method-assign]
    assert server.begin_request(Request(), CLIENT) is None
    assert caplog.records == []


def test_a_datagram_that_is_too_long_is_rejected(server: Server, recorder: Recorder) -> None:
    error = DatagramTooLongError("a datagram longer than 100 bytes", CLIENT)
    server.get_request = raising(error)  # type: ignore[method-assign]
    server._handle_request_noblock()
    assert server.errors == [error]
    assert recorder.calls == [
        (
            "request_rejected",
            {"server": server, "client_address": CLIENT, "reason": "a datagram longer than 100 bytes"},
        )
    ]


# Odds and ends --------------------------------------------------------------------------------


def test_representation_of_a_context(server: Server) -> None:
    context = server.begin_request(request := Request(), CLIENT)
    assert context is not None
    assert repr(context) == f"<RequestContext {context.id} upper {CLIENT} active>"
    server.end_request(request)
    assert repr(context) == f"<RequestContext {context.id} upper {CLIENT} completed>"


def test_hooks_that_nobody_implements_are_none() -> None:
    assert [getattr(NO_HOOKS, name) for name in SERVER_HOOKS] == [None] * len(SERVER_HOOKS)
    hooks = ServerHooks(request_started=print)
    assert [name for name in SERVER_HOOKS if getattr(hooks, name)] == ["request_started"]


def test_a_hook_of_no_such_name() -> None:
    with pytest.raises(TypeError, match="no such hook: request_begun"):
        ServerHooks(request_begun=print)


def test_state_and_lock_are_the_server_s_own() -> None:
    first, second = Server(), Server()
    first.state.count = 1
    assert not hasattr(second.state, "count")
    with first.lock, first.lock:  # re-entrant
        assert first.lock is not second.lock
