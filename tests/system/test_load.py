"""Load, ill-mannered clients, want of descriptors, and the end under load, in the process that serves."""

from __future__ import annotations

import re
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

import hangs
import pytest
from clients import Client, is_closed, read_all
from command import Service, serving
from patience import PATIENCE, Call, wait_until
from procfs import Census, census, children, cpu_seconds, descriptors, is_idle

SERVERS = ("tcp", "unix")
STRATEGIES = ("sync", "threading", "forking")
COMBINATIONS = [(server, strategy) for server in SERVERS for strategy in STRATEGIES]
#: The default of max_children.
MAX_CHILDREN = 40
#: Seconds that a service may take to see that it is to end, and to end.
PROMPTLY = PATIENCE / 2
HANGS = Path(hangs.__file__)

at_all_combinations = pytest.mark.parametrize(("server", "strategy"), COMBINATIONS)


def url_of(server: str, folder: Path) -> str:
    return {"tcp": "tcp://127.0.0.1:0", "unix": f"unix://{folder}/socket"}[server]


def converse(client: Client, word: bytes) -> None:
    client.sendall(word)
    assert client.recv(len(word), socket.MSG_WAITALL) == word


def finish(client: Client) -> bytes:
    """Say that there is no more, and take what is still to come."""
    client.shutdown(socket.SHUT_WR)
    return read_all(client)


def answers_nothing(client: Client) -> bool:
    client.setblocking(False)
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    finally:
        client.settimeout(PATIENCE)
    return False


# Load -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def combination(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A server and a strategy."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def echo(combination: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An echo service of one combination, for all the tests of this section."""
    server, strategy = combination
    folder = tmp_path_factory.mktemp("echo")
    with serving(folder, "echo", url_of(server, folder), "-c", strategy) as service:
        yield service


@pytest.fixture(scope="module")
def rest(echo: Service) -> Census:
    """What the service holds before the load."""
    return at_rest(echo)


def at_rest(service: Service) -> Census:
    """What the service holds once a request has shown that it runs, and is over."""
    assert service.ask(b"hello") == b"hello"
    wait_until(lambda: is_idle(service.pid))
    return census(service.pid)


def comes_to(service: Service, rest: Census) -> None:
    """Wait until the service holds what it did at rest; it may still be closing what it is done with."""
    wait_until(lambda: census(service.pid) == rest, what=f"{census(service.pid)} to come to {rest}")


@pytest.fixture
def nothing_stays(echo: Service, rest: Census) -> Iterator[None]:
    """Fails a test after which the service holds more than it did, or serves no longer."""
    yield
    comes_to(echo, rest)
    assert echo.ask(b"still there") == b"still there"


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_stays")
def test_2000_connections_in_sequence(echo: Service) -> None:
    for number in range(2000):
        question = b"%d" % number
        assert echo.ask(question) == question


@pytest.mark.usefixtures("nothing_stays")
def test_200_connections_at_once(echo: Service, combination: tuple[str, str]) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(echo.connect()) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(b"first %d " % number)
        # As many at once as the strategy is meant to have.
        active = {"sync": (1, 0), "threading": (1 + 200, 0), "forking": (1, MAX_CHILDREN)}[combination[1]]
        wait_until(lambda: census(echo.pid)[1:] == active, what=f"threads and children {active}")
        for number, client in enumerate(clients):
            client.sendall(b"then %d" % number)
            client.shutdown(socket.SHUT_WR)
        for number, client in enumerate(clients):
            assert read_all(client) == b"first %d then %d" % (number, number)


def resets(client: Client) -> None:
    client.sendall(b"x" * 1000)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket.close(client)


def resets_at_once(client: Client) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket.close(client)


def half_closes(client: Client) -> None:
    client.shutdown(socket.SHUT_WR)
    assert read_all(client) == b""


def vanishes(client: Client) -> None:
    """Goes in the middle of a talk in which it listens to nothing, so that the service can't send on."""
    client.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            client.send(bytes(65536))
    socket.socket.close(client)


def sends_nothing(client: Client) -> None:
    socket.socket.close(client)


def hears_nothing(client: Client) -> None:
    """Will not take the answer, but says goodbye."""
    client.shutdown(socket.SHUT_RD)
    client.sendall(b"x" * 1000)
    client.close()


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize(
    "misbehave", [resets, resets_at_once, half_closes, vanishes, sends_nothing, hears_nothing]
)
def test_ill_mannered_clients_harm_nobody(echo: Service, misbehave: Callable[[Client], None]) -> None:
    for number in range(20):
        with echo.connect() as ill_mannered:
            misbehave(ill_mannered)
        question = b"%d" % number * 1000
        assert echo.ask(question) == question


@pytest.mark.usefixtures("nothing_stays")
def test_silent_clients_hold_up_nobody_but_under_sync(echo: Service, combination: tuple[str, str]) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(echo.connect()) for _ in range(20)]
        waiting = Call(echo.ask, b"hello")
        if combination[1] == "sync":
            for client in silent:
                assert waiting.is_alive()
                assert finish(client) == b""
        else:
            assert waiting.result() == b"hello"
            assert all(map(answers_nothing, silent))
        assert waiting.result() == b"hello"


# Limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["threading", "forking"])
@pytest.mark.parametrize("server", SERVERS)
def test_max_active_requests(server: str, strategy: str, tmp_path: Path) -> None:
    arguments = ("echo", url_of(server, tmp_path), "-c", strategy, "-o", "max_active_requests=3")
    with serving(tmp_path, *arguments) as service, ExitStack() as stack:
        served, waiting = [[stack.enter_context(service.connect()) for _ in range(3)] for _ in range(2)]
        for client in waiting:
            client.sendall(b"hello")
        for word in (b"one", b"two", b"three"):
            for client in served:
                converse(client, word)
        assert all(map(answers_nothing, waiting))
        for leaving, coming in zip(served, waiting, strict=True):
            assert finish(leaving) == b""
            leaving.close()
            assert coming.recv(100) == b"hello"


def test_max_active_requests_counts_children_of_a_serial_strategy(tmp_path: Path) -> None:
    arguments = ("checksum", url_of("tcp", tmp_path), "-c", "sync", "-o", "max_active_requests=2")
    with serving(tmp_path, *arguments) as service, ExitStack() as stack:
        large = [stack.enter_context(service.connect()) for _ in range(2)]
        for number, client in enumerate(large, 1):
            client.sendall(bytes(100_000))
            wait_until(lambda number=number: len(children(service.pid)) == number)
        third = stack.enter_context(service.connect())
        third.sendall(b"small")
        third.shutdown(socket.SHUT_WR)
        third.settimeout(0.2)
        with pytest.raises(TimeoutError):
            third.recv(1)
        third.settimeout(PATIENCE)
        assert len(finish(large[0])) == 65
        assert len(read_all(third)) == 65
        assert len(finish(large[1])) == 65


def lowest_free(pid: int) -> int:
    taken = descriptors(pid)
    return next(number for number in count() if number not in taken)


def limit_descriptors(pid: int, limit: int) -> int:
    """Set the soft limit, from which descriptors are refused; return what it was."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
    return soft


def stays_calm(service: Service, seconds: float) -> None:
    """See that the service takes next to no processor time while it can't accept."""
    service.wait_for("can't accept, will try again")
    before = cpu_seconds(service.pid)
    time.sleep(seconds)
    assert cpu_seconds(service.pid) - before < seconds / 10
    assert service.output.count("can't accept") == 1


@pytest.mark.slow
@at_all_combinations
def test_a_second_without_descriptors(server: str, strategy: str, tmp_path: Path) -> None:
    with serving(tmp_path, "echo", url_of(server, tmp_path), "-c", strategy) as service, ExitStack() as stack:
        rest = at_rest(service)
        limit = limit_descriptors(service.pid, lowest_free(service.pid))
        clients = [stack.enter_context(service.connect()) for _ in range(10)]
        for client in clients:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
        stays_calm(service, 1.0)
        assert all(map(answers_nothing, clients))
        limit_descriptors(service.pid, limit)
        assert [read_all(client) for client in clients] == [b"hello"] * 10
        comes_to(service, rest)


@pytest.mark.parametrize("server", SERVERS)
def test_idle_clients_that_take_all_descriptors(server: str, tmp_path: Path) -> None:
    with (
        serving(tmp_path, "echo", url_of(server, tmp_path), "-c", "threading") as service,
        ExitStack() as stack,
    ):
        rest = at_rest(service)
        limit_descriptors(service.pid, lowest_free(service.pid) + 8)
        clients = [stack.enter_context(service.connect()) for _ in range(12)]
        converse(clients[0], b"hello")
        stays_calm(service, 0.5)
        for client in clients:  # each that leaves makes room for another
            client.sendall(b"bye")
            assert finish(client) == b"bye"
        assert service.ask(b"after") == b"after"
        comes_to(service, rest)


@pytest.mark.parametrize("server", SERVERS)
def test_clients_of_children_take_no_descriptors(server: str, tmp_path: Path) -> None:
    """The connections are the children's: the service needs but one descriptor to accept the next."""
    with (
        serving(tmp_path, "echo", url_of(server, tmp_path), "-c", "forking") as service,
        ExitStack() as stack,
    ):
        rest = at_rest(service)
        limit_descriptors(service.pid, lowest_free(service.pid) + 3)  # and two for the pipe of the reports
        clients = [stack.enter_context(service.connect()) for _ in range(12)]
        for client in clients:
            converse(client, b"hello")
        assert "can't accept" not in service.output
        for client in clients:
            assert finish(client) == b""
        comes_to(service, rest)


@at_all_combinations
def test_sigterm_without_descriptors_loses_nobody(server: str, strategy: str, tmp_path: Path) -> None:
    with serving(tmp_path, "echo", url_of(server, tmp_path), "-c", strategy) as service, ExitStack() as stack:
        at_rest(service)
        limit = limit_descriptors(service.pid, lowest_free(service.pid))
        clients = [stack.enter_context(service.connect()) for _ in range(3)]
        service.wait_for("can't accept, will try again")
        service.signal()
        limit_descriptors(service.pid, limit)
        for client in clients:
            client.sendall(b"hello")
            assert finish(client) == b"hello"
        assert service.wait() == 0


# The end --------------------------------------------------------------------------------------


class Visitors:
    """Clients that come one after the other in threads, and how it went with those that were in."""

    def __init__(self, service: Service, number: int) -> None:
        self._service = service
        self._told = False
        self.served = 0
        self.lost: list[str] = []
        self._lock = threading.Lock()
        self._calls = [Call(self._come_and_go) for _ in range(number)]

    def _come_and_go(self) -> None:
        for number in count():
            question = b"%d." % number * 100
            try:
                client = self._service.connect()
            except OSError:
                assert self._told, "turned away before its time"
                return
            accepted = not self._told
            with client:
                try:
                    client.sendall(question)
                    client.shutdown(socket.SHUT_WR)
                    answer = read_all(client)
                    problem = "" if answer == question else f"got {len(answer)} of {len(question)} bytes"
                except OSError as error:
                    problem = repr(error)
            with self._lock:
                self.served += not problem
                if problem and accepted:
                    self.lost.append(problem)

    def told(self) -> None:
        """From now on those who come may be turned away."""
        self._told = True

    def gone(self) -> None:
        """Wait until all have been turned away."""
        for call in self._calls:
            call.result()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@at_all_combinations
def test_a_signal_under_load_loses_no_request(
    server: str, strategy: str, number: signal.Signals, tmp_path: Path
) -> None:
    arguments = ("echo", url_of(server, tmp_path), "-c", strategy, "--access-log")
    with serving(tmp_path, *arguments) as service, ExitStack() as stack:
        visitors = Visitors(service, 4)
        wait_until(lambda: visitors.served > 20)
        # Some are in the middle of their request, some have not begun; under sync, and where there
        # are more than max_children, some wait in the backlog.
        clients = [stack.enter_context(service.connect()) for _ in range(60)]
        for client in clients[::2]:
            client.sendall(b"before, ")
        visitors.told()
        service.signal(number)
        for client in clients[::2]:
            client.sendall(b"and after")
            client.shutdown(socket.SHUT_WR)
        for client in clients[1::2]:
            client.sendall(b"only after")
            client.shutdown(socket.SHUT_WR)
        assert [read_all(client) for client in clients[::2]] == [b"before, and after"] * 30
        assert [read_all(client) for client in clients[1::2]] == [b"only after"] * 30
        assert service.wait() == 0
        visitors.gone()
        assert not visitors.lost
        assert service.outcomes() == ["completed"] * len(service.outcomes())
        assert len(service.outcomes()) >= visitors.served + len(clients)


@pytest.mark.parametrize("server", SERVERS)
def test_newcomers_do_not_put_off_the_end(server: str, tmp_path: Path) -> None:
    arguments = (f"{HANGS}:Dozing", url_of(server, tmp_path), "-c", "sync")
    with serving(tmp_path, *arguments) as service:
        # With these there is always somebody in the backlog.
        visitors = Visitors(service, 4)
        wait_until(lambda: visitors.served > 20)
        visitors.told()
        service.signal()
        assert service.wait(PROMPTLY) == 0
        visitors.gone()
        assert not visitors.lost


@at_all_combinations
def test_while_it_drains_it_takes_nobody_new(server: str, strategy: str, tmp_path: Path) -> None:
    with serving(tmp_path, "echo", url_of(server, tmp_path), "-c", strategy) as service:
        with service.connect() as client:
            converse(client, b"before")
            service.signal()
            if strategy != "sync":
                wait_until(lambda: not service.is_listening())
                assert is_turned_away(service)
            converse(client, b"after")
            assert service.is_running()
            assert finish(client) == b""
        assert service.wait(PROMPTLY) == 0
        assert is_turned_away(service)


def is_turned_away(service: Service) -> bool:
    try:
        service.connect().close()
    except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
        return True
    return False


@at_all_combinations
def test_the_deadline_cuts_who_is_idle(server: str, strategy: str, tmp_path: Path) -> None:
    arguments = ("echo", url_of(server, tmp_path), "-c", strategy, "--grace", "0.5", "--access-log")
    with serving(tmp_path, *arguments) as service, service.connect() as client:
        converse(client, b"hello")
        signalled = time.monotonic()
        service.signal()
        assert is_closed(client)
        assert 0.4 < time.monotonic() - signalled < PROMPTLY
        assert service.wait(PROMPTLY) == 0
        assert service.outcomes() == ["aborted"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "strategy", "status"),
    [
        # Nothing can end a thread; that requests had to be abandoned is told by the status.
        ("Sleeping", "sync", 1),
        ("Sleeping", "threading", 1),
        ("Sleeping", "forking", 0),
        ("Stubborn", "forking", 0),
    ],
)
def test_the_deadline_ends_a_handler_that_hangs(
    handler: str, strategy: str, status: int, tmp_path: Path
) -> None:
    arguments = (f"{HANGS}:{handler}", url_of("unix", tmp_path), "-c", strategy, "--grace", "0.2")
    with serving(tmp_path, *arguments, "-o", "block_on_close=true", "--access-log") as service:
        with service.connect() as client:
            assert client.recv(100) == b"asleep\n"
            service.signal()
            assert service.wait(0.2 + 2 * 1.0 + PROMPTLY) == status
            assert is_closed(client)
        assert (re.search(" ERROR .*did not end", service.output) is not None) is (status == 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)],
    ids=lambda numbers: "-".join(number.name for number in numbers),
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_second_signal_cuts_at_once(
    numbers: tuple[signal.Signals, signal.Signals], strategy: str, tmp_path: Path
) -> None:
    arguments = ("echo", url_of("tcp", tmp_path), "-c", strategy, "--grace", "600")
    with serving(tmp_path, *arguments) as service, service.connect() as client:
        converse(client, b"hello")
        service.signal(numbers[0])
        if strategy != "sync":
            wait_until(lambda: not service.is_listening())
        converse(client, b"still here")  # so the first has been taken: two of a kind would be one
        service.signal(numbers[1])
        assert is_closed(client)
        assert service.wait(PROMPTLY) == 0


def test_a_signal_ends_a_service_that_has_nothing_to_do(tmp_path: Path) -> None:
    urls = ("tcp://127.0.0.1:0", f"unix://{tmp_path}/socket", "udp://127.0.0.1:0")
    with serving(tmp_path, "echo", *urls, listeners=3) as service:
        signalled = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - signalled < PROMPTLY
