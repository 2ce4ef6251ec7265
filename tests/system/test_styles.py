"""The table of styles and strategies, cell by cell: one job in four styles, the same under every strategy.

Same answers, same hook events and same access lines, whatever the handler's style and the strategy.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import styles
from clients import correspondent, dial, read_all
from command import Address, Service, address_of, error_of, plugport, serving
from fakes import SitePackages
from patience import PATIENCE, Call, wait_until

STYLES = Path(styles.__file__)
HANDLERS = {
    ("blocking", "stream"): "BlockingLines",
    ("protocol", "stream"): "ProtocolLines",
    ("async", "stream"): "async_lines",
    ("message", "stream"): "capitals",
    ("blocking", "datagram"): "BlockingDatagrams",
    ("protocol", "datagram"): "ProtocolDatagrams",
    ("async", "datagram"): "async_datagrams",
    ("message", "datagram"): "capitals",
}
STRATEGIES = ("sync", "threading", "forking", "thread-pool", "select", "asyncio")
SERVERS = {"tcp": "stream", "unix": "stream", "udp": "datagram", "unixgram": "datagram"}
#: What leads from each style to the strategy: the table of the design.
_NO_LOOP = {
    "blocking": None,
    "protocol": "protocol -> blocking",
    "async": "async -> blocking",
    "message": "message -> blocking",
}
TABLE = dict.fromkeys(("sync", "threading", "forking", "thread-pool"), _NO_LOOP) | {
    "select": {
        "blocking": "blocking -> protocol",
        "protocol": None,
        "async": "refused",
        "message": "message -> protocol",
    },
    "asyncio": {"blocking": None, "protocol": None, "async": None, "message": "message -> protocol"},
}
CELLS = [
    (style, strategy, server)
    for style in ("blocking", "protocol", "async", "message")
    for strategy in STRATEGIES
    for server in SERVERS
]
LEGAL = [cell for cell in CELLS if TABLE[cell[1]][cell[0]] != "refused"]
REFUSED = [cell for cell in CELLS if cell not in LEGAL]

PLUGIN = """
    import json, os

    @plugport.hookimpl
    def plugport_register_handlers():
        for name, target in {handlers!r}.items():
            yield plugport.Component(name, target, "Lines or datagrams in, capitals out")

    def note(server, event, *details):
        with open(os.environ["PLUGPORT_TEST_EVENTS"], "a") as file:
            print(json.dumps([server.scheme, event, *details]), file=file)

    @plugport.hookimpl
    def plugport_server_bound(server):
        note(server, "bound")

    @plugport.hookimpl
    def plugport_server_started(server):
        note(server, "started")

    @plugport.hookimpl
    def plugport_server_draining(server):
        note(server, "draining")

    @plugport.hookimpl
    def plugport_server_stopped(server):
        note(server, "stopped")

    @plugport.hookimpl
    def plugport_verify_request(server, request, client_address):
        note(server, "verify")

    @plugport.hookimpl
    def plugport_request_started(context):
        note(context.server, "request started", context.outcome)

    @plugport.hookimpl
    def plugport_request_failed(context, error):
        note(context.server, "request failed", context.outcome)

    @plugport.hookimpl
    def plugport_request_finished(context):
        note(context.server, "request finished", context.outcome, context.bytes_received, context.bytes_sent)

    @plugport.hookimpl
    def plugport_request_rejected(server, client_address, reason):
        note(server, "request rejected", reason)
"""


def name_of(style: str, server: str) -> str:
    """The name under which the handler of a cell is registered."""
    return f"{style}-{SERVERS[server]}"


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which a plugin registers the handlers, and notes the hooks' calls in a file."""
    site = SitePackages(tmp_path_factory.mktemp("site"))
    handlers = {"-".join(key): f"{STYLES}:{attribute}" for key, attribute in HANDLERS.items()}
    site.add("four-styles", PLUGIN.format(handlers=handlers))
    return {"PYTHONPATH": site.python_path}


# The table ------------------------------------------------------------------------------------


def test_the_matrix_is_the_table(environ: dict[str, str], tmp_path: Path) -> None:
    result = plugport(tmp_path, "matrix", "--json", env=environ)
    assert result.returncode == 0, result
    rows = {(row["handler"], row["server"], row["concurrency"]): row for row in json.loads(result.stdout)}
    found, expected = {}, {}
    for style, strategy, server in CELLS:
        row = rows[name_of(style, server), server, strategy]
        found[style, strategy, server] = row["bridge"] if row["verdict"] == "legal" else row["verdict"]
        expected[style, strategy, server] = TABLE[strategy][style]
    assert found == expected
    assert {cell[:2] for cell in REFUSED} == {("async", "select")}


@pytest.mark.parametrize(
    ("handler", "server"),
    [("blocking-stream", "udp"), ("protocol-stream", "unixgram"), ("protocol-datagram", "tcp")],
)
def test_a_handler_of_the_other_kind_is_refused(
    handler: str, server: str, environ: dict[str, str], tmp_path: Path
) -> None:
    result = plugport(tmp_path, "check", handler, server, "threading", env=environ)
    kind, other = handler.rpartition("-")[2], SERVERS[server]
    reason = f"a {kind} handler can't serve a {other} server; use a {kind} server"
    assert (result.returncode, result.stdout) == (1, f"refused: {reason}\n")


def url_of(server: str, folder: Path) -> str:
    return f"{server}://{folder}/socket" if server.startswith("unix") else f"{server}://127.0.0.1:0"


@pytest.mark.parametrize(("style", "strategy", "server"), REFUSED, ids=map("-".join, REFUSED))
def test_a_refused_cell(
    style: str, strategy: str, server: str, environ: dict[str, str], tmp_path: Path
) -> None:
    result = plugport(
        tmp_path, "serve", name_of(style, server), url_of(server, tmp_path), "-c", strategy, env=environ
    )
    reason = f"an {style} handler needs an event loop, and {strategy} has none; "
    cures = "sync, threading, forking, thread-pool or asyncio would do"
    assert error_of(result).endswith(f": {reason}{cures}")


# The clients ----------------------------------------------------------------------------------

MANY_LINES = b"".join(b"%d bottles\n" % number for number in range(5_000))


def converse(peer: Address) -> None:
    with dial(*peer) as client, client.makefile("rb") as answers:
        client.sendall(b"hello\n")
        assert answers.readline() == b"HELLO\n"
        client.sendall(b"wor")
        client.sendall(b"ld\r\nagain\n")
        assert answers.readline() == b"WORLD\n"
        assert answers.readline() == b"AGAIN\n"
        client.sendall(b"the rest")
        client.shutdown(socket.SHUT_WR)
        assert answers.read() == b"THE REST\n"


def say_nothing(peer: Address) -> None:
    with dial(*peer) as client:
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""


def send_much(peer: Address) -> None:
    with dial(*peer) as client:
        sending = Call(client.sendall, MANY_LINES)
        answer = bytearray()
        while len(answer) < len(MANY_LINES):
            answer += client.recv(65536)
        sending.result()
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
    assert answer == MANY_LINES.upper()


def send_much_by_socat(peer: Address) -> None:
    unix = peer.family == socket.AF_UNIX
    address = f"UNIX-CONNECT:{peer.address}" if unix else "TCP:{}:{}".format(*peer.address)
    command = ["socat", f"-t{PATIENCE}", "-", address]
    result = subprocess.run(command, input=MANY_LINES, capture_output=True, timeout=2 * PATIENCE)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == MANY_LINES.upper()


def have_it_fail(peer: Address) -> None:
    with dial(*peer) as client:
        client.sendall(b"one\nfail\ntwo\n")
        assert read_all(client) == b"ONE\n"


def leave(peer: Address) -> None:
    """Go with the answer unread, which resets the connection."""
    with dial(*peer) as client:
        client.sendall(b"hello\n")
        assert client.recv(6, socket.MSG_PEEK | socket.MSG_WAITALL) == b"HELLO\n"
        socket.socket.close(client)


def exchange(peer: Address, datagram: bytes) -> None:
    unix = peer.family == socket.AF_UNIX
    path = Path(peer.address).with_name("peer") if unix else Path("none")
    with correspondent(peer.family, peer.address, path) as client:
        client.send(datagram)
        assert client.recv(65536) == datagram.upper()


def send_one_that_fails(peer: Address) -> None:
    with dial(*peer) as client:
        client.send(b"fail")


class Talk(NamedTuple):
    """A request: what its client does, how it must end, and the bytes that come and go."""

    client: Callable[[Address], None]
    outcome: str
    received: int
    sent: int


TALKS = {
    "stream": (
        Talk(converse, "completed", 27, 27),
        Talk(say_nothing, "completed", 0, 0),
        Talk(send_much, "completed", len(MANY_LINES), len(MANY_LINES)),
        Talk(have_it_fail, "failed", 13, 4),
        Talk(leave, "aborted", 6, 6),
        Talk(converse, "completed", 27, 27),
    ),
    "datagram": (
        Talk(partial(exchange, datagram=b"hello"), "completed", 5, 5),
        Talk(partial(exchange, datagram=b""), "completed", 0, 0),
        Talk(partial(exchange, datagram=MANY_LINES[:50_000]), "completed", 50_000, 50_000),
        Talk(send_one_that_fails, "failed", 4, 0),
        Talk(partial(exchange, datagram=b"hello"), "completed", 5, 5),
    ),
}


def counts(talk: Talk, server: str) -> tuple[int | None, int | None]:
    """The bytes received and sent that the context must tell: what the kernel counts, or the datagram."""
    if server == "tcp":
        return talk.received, talk.sent
    return (talk.received, None) if SERVERS[server] == "datagram" else (None, None)


def expected_events(server: str) -> list[list[Any]]:
    """The calls of the hooks that come, under whatever strategy."""
    events: list[list[Any]] = [["bound"], ["started"]]
    for talk in TALKS[SERVERS[server]]:
        events += [["verify"], ["request started", None]]
        if talk.outcome != "completed":
            events.append(["request failed", talk.outcome])
        events.append(["request finished", talk.outcome, *counts(talk, server)])
    return [*events, ["draining"], ["stopped"]]


def expected_lines(handler: str, server: str) -> list[str]:
    """The access lines, without what differs from one run to the next."""
    lines = []
    for talk in TALKS[SERVERS[server]]:
        received, sent = ("?" if count is None else count for count in counts(talk, server))
        lines.append(f"{server} {handler} {talk.outcome}, received {received} bytes, sent {sent} bytes")
    return lines


def access_lines(service: Service, server: str) -> list[str]:
    """The access lines of a server without time, id, address and duration, each of which must make sense."""
    address = r"127\.0\.0\.1:\d+" if server in ("tcp", "udp") else r"\S+"
    stamp = r"[\d-]+ [\d:]+ INFO \d+"
    pattern = rf"(?m)^{stamp} ({server} \S+) {address} (\S+) in \d+\.\d+ s(, received .*)$"
    return ["{} {}{}".format(*found) for found in re.findall(pattern, service.output)]


ROWS = list(dict.fromkeys((style, strategy, SERVERS[server]) for style, strategy, server in LEGAL))


@pytest.mark.parametrize(("style", "strategy", "kind"), ROWS, ids=map("-".join, ROWS))
def test_legal_cells(style: str, strategy: str, kind: str, environ: dict[str, str], tmp_path: Path) -> None:
    """The cells of a style and a strategy: its servers of one kind, served together."""
    serve_cells(style, strategy, kind, environ, tmp_path)


@pytest.mark.tools("socat")
@pytest.mark.parametrize(
    ("style", "strategy"),
    [row[:2] for row in ROWS if row[2] == "stream"],
    ids=["-".join(row[:2]) for row in ROWS if row[2] == "stream"],
)
def test_legal_cells_with_socat(
    style: str, strategy: str, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talks = [
        talk._replace(client=send_much_by_socat) if talk.client is send_much else talk
        for talk in TALKS["stream"]
    ]
    monkeypatch.setitem(TALKS, "stream", tuple(talks))
    serve_cells(style, strategy, "stream", environ, tmp_path)


def serve_cells(style: str, strategy: str, kind: str, environ: dict[str, str], tmp_path: Path) -> None:
    servers = [server for server in SERVERS if SERVERS[server] == kind]
    urls = [url_of(server, tmp_path) for server in servers]
    events = tmp_path / "events"
    env = environ | {"PLUGPORT_TEST_EVENTS": str(events)}
    arguments = [f"{style}-{kind}", *urls, "-c", strategy, "--access-log"]
    with serving(tmp_path, *arguments, env=env, listeners=len(urls), raises=True) as service:
        talks = [(url, talk) for url in service.urls for talk in TALKS[kind]]
        for number, (url, talk) in enumerate(talks, 1):
            talk.client(address_of(url))
            ended = partial(have_ended, service, events, number)
            wait_until(ended, what=f"the end of {talk} at {url}")
    noted = [json.loads(line) for line in events.read_text().splitlines()]
    for server in servers:
        assert [event for scheme, *event in noted if scheme == server] == expected_events(server)
        assert access_lines(service, server) == expected_lines(f"{style}-{kind}", server)
    ids = re.findall(r" INFO (\d+) \S+ \S+ \S+ \S+ in ", service.output)
    assert ids == [str(number) for number in range(1, len(talks) + 1)]
    # One request of each server has failed, and was reported; nothing else has gone wrong.
    assert service.output.count("\nValueError: there are no capitals of this\n") == len(servers)
    assert len(re.findall("Traceback| WARNING ", service.output)) == len(servers), service.output


def have_ended(service: Service, events: Path, number: int) -> bool:
    """Whether so many requests have ended, as both the access log and the hooks tell."""
    return len(service.outcomes()) == number == events.read_text().count('"request finished"')
