"""counter: numbers, each given once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from clients import datagram_client, hear

from plugport.combination.verdicts import check
from plugport_builtins.concurrency.forking import ForkingMixIn
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.handlers.counter import CounterHandler
from plugport_builtins.servers.tcp import TCPServer


def test_connections(start: Any, stream: str) -> None:
    server = start(CounterHandler, stream)
    assert [hear(server) for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]


def test_datagrams(start: Any, datagram: str, tmp_path: Path) -> None:
    with datagram_client(start(CounterHandler, datagram), tmp_path) as client:
        for number in (1, 2, 3):
            client.send(b"anything")
            assert client.recv(100) == b"%d\n" % number


def test_at_the_same_time_no_number_is_given_twice(start: Any) -> None:
    server = start(CounterHandler)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: int(hear(server)), range(200)))
    assert sorted(answers) == list(range(1, 201))


def test_another_server_counts_for_itself(start: Any, tmp_path: Path) -> None:
    first, second = start(CounterHandler), start(CounterHandler)
    assert (hear(first), hear(second)) == (b"1\n", b"1\n")


def test_where_it_may_live() -> None:
    assert check(CounterHandler, TCPServer, SyncMixIn).legal
    assert check(CounterHandler, TCPServer, ThreadingMixIn).legal
    assert not check(CounterHandler, TCPServer, ForkingMixIn).legal
