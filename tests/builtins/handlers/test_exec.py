"""exec: a program for each connection, and the ends that it may come to."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import signal
import socket
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clients import ask, connect, hear, read_all
from command import error_of, plugport, serving
from leaks import open_files
from patience import wait_until

from plugport.contracts.members import configure
from plugport.errors import OptionError
from plugport_builtins.concurrency.forking import ForkingMixIn
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.handlers.exec import ExecHandler

#: Seconds that would fail a test.
LONG = 1000.0


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


#: Tells its number, and stays.
SLEEPER = shell("echo $$; exec sleep 1000")
#: The same, deaf to SIGTERM.
STUBBORN = shell("trap '' TERM; echo $$; while :; do sleep 1000; done")


def is_running(pid: int) -> bool:
    """Whether the process is there, and not only what is left of it for its parent to reap."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def number_from(client: socket.socket) -> int:
    """The line that a program sends with a process's number."""
    line = b""
    while not line.endswith(b"\n"):
        data = client.recv(1)
        assert data, "the program has ended"
        line += data
    return int(line)


def reset(client: socket.socket) -> None:
    """Break the connection off."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket.close(client)  # without the shutdown of Client.close()


@pytest.fixture(params=[SyncMixIn, ThreadingMixIn, ForkingMixIn], ids=["sync", "threading", "forking"])
def strategy(request: pytest.FixtureRequest) -> type:
    mixin: type = request.param
    return mixin


@pytest.fixture(params=[True, False], ids=["pidfd", "no-pidfd"])
def _pidfd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.delattr(os, "pidfd_open", raising=False)


# What a program is given ----------------------------------------------------------------------


def test_a_program_that_talks(start: Any, stream: str, strategy: type) -> None:
    server = start(ExecHandler, stream, strategy, argv=["cat"])
    with connect(server) as client, client.makefile("rb") as file:
        for text in (b"hello\n", b"\0\xff", bytes(50_000)):
            client.sendall(text)
            assert file.read(len(text)) == text
        client.shutdown(socket.SHUT_WR)
        assert file.read() == b""


@pytest.mark.usefixtures("_pidfd")
def test_the_end_of_input_gets_its_answer(start: Any, recorder: Any, stream: str, strategy: type) -> None:
    server = start(ExecHandler, stream, strategy, argv=["sort"])
    assert ask(server, b"b\nc\na\n") == b"a\nb\nc\n"
    wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes == ["completed"]


def test_a_program_that_reads_nothing(start: Any, recorder: Any, stream: str, strategy: type) -> None:
    assert hear(start(ExecHandler, stream, strategy, argv=["echo", "hello"])) == b"hello\n"
    wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes == ["completed"]


def test_no_shell_reads_the_arguments(start: Any) -> None:
    argv = ["printf", "%s|", "$HOME", "a b", "; ls", "*", ""]
    assert hear(start(ExecHandler, argv=argv)) == b"$HOME|a b|; ls|*||"


def test_a_session_of_its_own(start: Any) -> None:
    # The number of the process, those of its group and of its session.
    numbers = hear(start(ExecHandler, argv=["cut", "-d", " ", "-f", "1,5,6", "/proc/self/stat"])).split()
    assert len(set(numbers)) == 1
    assert int(numbers[0]) != os.getsid(0)


def test_its_signals_are_as_usual(start: Any, strategy: type) -> None:
    status = hear(start(ExecHandler, strategy=strategy, argv=["cat", "/proc/self/status"])).decode()
    blocked, ignored = (
        int(re.search(rf"^{name}:\s*(\w+)$", status, re.MULTILINE)[1], 16)  # type: ignore[index]
        for name in ("SigBlk", "SigIgn")
    )
    assert blocked == 0
    for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGXFSZ):
        assert not ignored & 1 << number - 1, number.name


def test_it_has_no_other_descriptors(start: Any, strategy: type) -> None:
    # 3 is ls's own.
    assert hear(start(ExecHandler, strategy=strategy, argv=["ls", "/proc/self/fd"])) == b"0\n1\n2\n3\n"


def test_its_end_of_the_connection_blocks(start: Any) -> None:
    told = hear(start(ExecHandler, argv=["cat", "/proc/self/fdinfo/0"])).decode()
    (flags,) = re.findall("^flags:\\s*([0-7]+)$", told, re.MULTILINE)
    assert not int(flags, 8) & os.O_NONBLOCK


def test_a_peer_that_dies_without_a_word_is_looked_for(start: Any, recorder: Any) -> None:
    server = start(ExecHandler, argv=SLEEPER)
    with connect(server) as client:
        number_from(client)
        connection = recorder.of("request_started")[0]["context"].request
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        client.shutdown(socket.SHUT_RDWR)
        reset(client)


def test_many_at_once(start: Any) -> None:
    server = start(ExecHandler, argv=["cat"])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(20)]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
            client.shutdown(socket.SHUT_WR)
        assert [read_all(client) for client in clients] == [b"%d" % number for number in range(20)]


# The ends that it may come to -----------------------------------------------------------------


def test_the_exit_status_is_logged(start: Any, recorder: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "plugport.handlers.exec")
    server = start(ExecHandler, argv=shell("exit 3"))
    assert hear(server) == b""
    wait_until(lambda: recorder.outcomes)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("plugport.handlers.exec", logging.INFO)
    assert "sh for " in record.getMessage()
    assert record.getMessage().endswith(" ended with status 3")
    assert recorder.outcomes == ["completed"]


def test_success_is_not(start: Any, recorder: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "plugport.handlers.exec")
    hear(start(ExecHandler, argv=["true"]))
    wait_until(lambda: recorder.outcomes)
    assert not caplog.records


@pytest.mark.usefixtures("_pidfd")
def test_a_client_that_closes(start: Any, recorder: Any, stream: str, strategy: type) -> None:
    server = start(ExecHandler, stream, strategy, argv=SLEEPER, eof_timeout=0.1, kill_timeout=LONG)
    with connect(server) as client:
        pid = number_from(client)
    wait_until(lambda: not is_running(pid))
    wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes == ["timed-out"]


def test_a_client_that_half_closes_and_waits(start: Any, recorder: Any, stream: str) -> None:
    server = start(ExecHandler, stream, argv=SLEEPER, eof_timeout=0.1, kill_timeout=LONG)
    with connect(server) as client:
        pid = number_from(client)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        wait_until(lambda: not is_running(pid))
    wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes == ["timed-out"]


def test_no_limit_after_the_end_of_input(start: Any, recorder: Any, stream: str, tmp_path: Path) -> None:
    script = "echo $$; until [ -e go ]; do sleep 0.01; done; echo done"
    argv = shell(f"cd {shlex.quote(str(tmp_path))}; {script}")
    server = start(ExecHandler, stream, argv=argv, eof_timeout=None)
    with connect(server) as client:
        number_from(client)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(0.3)  # more than any look at the connection takes
        with pytest.raises(TimeoutError):
            client.recv(1)
        (tmp_path / "go").touch()
        client.settimeout(10)
        assert read_all(client) == b"done\n"


@pytest.mark.usefixtures("_pidfd")
@pytest.mark.parametrize("half_closed", [False, True])
def test_a_client_that_breaks_off(start: Any, recorder: Any, half_closed: bool) -> None:
    for mixin in (SyncMixIn, ThreadingMixIn):  # a forked child would hold a copy of the client's socket
        server = start(ExecHandler, "tcp", mixin, argv=SLEEPER, eof_timeout=None, kill_timeout=LONG)
        client = connect(server)
        pid = number_from(client)
        if half_closed:
            client.shutdown(socket.SHUT_WR)
        reset(client)
        wait_until(lambda pid=pid: not is_running(pid))
    wait_until(lambda: len(recorder.outcomes) == 2)
    assert recorder.outcomes == ["aborted", "aborted"]


def test_a_unix_client_that_leaves_its_answer_unread(start: Any, recorder: Any) -> None:
    server = start(ExecHandler, "unix", argv=SLEEPER, eof_timeout=None, kill_timeout=LONG)
    with connect(server) as client:
        client.recv(1)
        socket.socket.close(client)
    wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes == ["aborted"]


def test_a_client_that_sends_and_leaves_is_heard(start: Any, stream: str, tmp_path: Path) -> None:
    script = "until [ -e go ]; do sleep 0.01; done; cat >heard; mv heard done"
    server = start(ExecHandler, stream, argv=shell(f"cd {shlex.quote(str(tmp_path))}; {script}"))
    with connect(server) as client:
        client.sendall(b"remember me\n")
    (tmp_path / "go").touch()
    wait_until(lambda: (tmp_path / "done").exists())
    assert (tmp_path / "done").read_bytes() == b"remember me\n"


def test_a_client_that_was_gone_before(start: Any, recorder: Any, stream: str, strategy: type) -> None:
    server = start(ExecHandler, stream, strategy, argv=["sleep", "1000"], eof_timeout=0)
    connect(server).close()
    wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes[0] in ("aborted", "timed-out")


@pytest.mark.parametrize("kill_timeout", [0, 0.1])
def test_a_program_that_will_not_go(start: Any, recorder: Any, stream: str, kill_timeout: float) -> None:
    server = start(ExecHandler, stream, argv=STUBBORN, eof_timeout=0, kill_timeout=kill_timeout)
    with connect(server) as client:
        pid = number_from(client)
    wait_until(lambda: not is_running(pid))
    wait_until(lambda: recorder.outcomes)


def test_a_program_has_time_to_clean_up(start: Any, recorder: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"trap 'echo clean >{shlex.quote(str(log))}; exit' TERM; echo $$; while :; do sleep 0.05; done"
    server = start(ExecHandler, argv=shell(script), eof_timeout=0, kill_timeout=LONG)
    with connect(server) as client:
        pid = number_from(client)
    wait_until(lambda: not is_running(pid))
    wait_until(lambda: recorder.outcomes)
    assert log.read_text() == "clean\n"


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
def test_what_it_has_started_goes_too(start: Any, recorder: Any, trap: str) -> None:
    script = f"({trap}exec sleep 1000) & echo $!; wait"
    server = start(ExecHandler, argv=shell(script), eof_timeout=0, kill_timeout=0.1)
    with connect(server) as client:
        pid = number_from(client)
    wait_until(lambda: not is_running(pid))
    wait_until(lambda: recorder.outcomes)


@pytest.mark.parametrize("hung_up", [False, True])
def test_a_connection_that_the_server_cuts(start: Any, recorder: Any, stream: str, hung_up: bool) -> None:
    server = start(ExecHandler, stream, argv=SLEEPER, eof_timeout=None)
    client = connect(server)
    with client:
        pid = number_from(client)
        if hung_up:
            client.close()
        server.drain(0)
        wait_until(lambda: not is_running(pid))
    wait_until(lambda: recorder.outcomes)
    assert recorder.outcomes == ["aborted"]


def test_a_handler_that_is_interrupted(monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> None:
    def interrupt(self: ExecHandler, process: Any, connection: socket.socket) -> None:
        processes.append(process)
        raise SystemExit

    processes: list[Any] = []
    monkeypatch.setattr(ExecHandler, "_wait_for_exit", interrupt)
    handler = configure(ExecHandler, {"argv": STUBBORN})
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(SystemExit):
        handler(ours, "", SimpleNamespace(active_requests={}))
    assert processes[0].returncode in (-signal.SIGTERM, -signal.SIGKILL)


def test_a_system_that_hands_out_no_pidfd(monkeypatch: pytest.MonkeyPatch, start: Any) -> None:
    def refuse(pid: int) -> int:
        raise OSError("not here")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    assert ask(start(ExecHandler, argv=["sort"]), b"b\na\n") == b"a\nb\n"


def test_nothing_piles_up(start: Any, recorder: Any, strategy: type) -> None:
    server = start(ExecHandler, strategy=strategy, argv=["cat"])
    ask(server, b"")
    wait_until(lambda: recorder.outcomes)
    before = len(open_files())
    for number in range(20):
        ask(server, b"x")
        wait_until(lambda number=number: len(recorder.outcomes) == number + 2)
    wait_until(lambda: len(open_files()) <= before)


# Options, and a service of its own --------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "no program to run"),
        ([""], "no program ''"),
        (["no-such-program", "x"], "no program 'no-such-program'"),
        (["/etc/passwd"], "no program '/etc/passwd'"),
        (["/"], "no program '/'"),
    ],
)
def test_argv_that_can_not_be_run(argv: list[str], reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        configure(ExecHandler, {"argv": argv})


def test_a_subclass_that_nobody_configured(no_leaks: None) -> None:
    class Hello(ExecHandler):
        argv = ["echo", "hello"]

    ours, theirs = socket.socketpair()
    with ours, theirs:
        Hello(ours, "", SimpleNamespace(active_requests={}))
        assert theirs.recv(100) == b"hello\n"


@pytest.mark.parametrize(("option", "named"), [((), "argv"), (("-o", "argv=no-such-program -n"), "no-such")])
def test_serve_says_what_is_missing(tmp_path: Path, option: tuple[str, ...], named: str) -> None:
    assert named in error_of(plugport(tmp_path, "serve", "exec", "tcp://127.0.0.1:0", *option))


@pytest.fixture(params=["sync", "threading", "forking"])
def name(request: pytest.FixtureRequest) -> str:
    strategy_name: str = request.param
    return strategy_name


@pytest.mark.parametrize("argv", ["tr a-z A-Z", '["tr", "a-z", "A-Z"]'])
def test_a_service(tmp_path: Path, argv: str) -> None:
    with serving(tmp_path, "exec", "tcp://127.0.0.1:0", "-o", f"argv={argv}") as service:
        assert service.ask(b"hello\n") == b"HELLO\n"


def test_its_errors_are_the_servers(tmp_path: Path) -> None:
    argv = 'argv=["/bin/sh", "-c", "echo out; echo oops >&2"]'
    with serving(tmp_path, "exec", "tcp://127.0.0.1:0", "-o", argv) as service:
        with service.connect() as client:
            assert read_all(client) == b"out\n"
        service.wait_for("oops")


def test_a_service_that_stops_ends_its_programs(tmp_path: Path, name: str) -> None:
    url = f"unix://{tmp_path}/socket"
    options = ("-c", name, "--grace", "0.2", "--access-log", "-o", f"argv={shlex.join(STUBBORN)}")
    with serving(tmp_path, "exec", url, *options) as service, service.connect() as client:
        pid = number_from(client)
        assert service.stop() == 0
        assert client.recv(1) == b""
        assert not is_running(pid)
        assert service.outcomes() == ["aborted"]
