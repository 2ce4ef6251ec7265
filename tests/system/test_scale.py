"""Many connections at once under the strategies that hold them in one thread: idle ones, and slow ones.

What they cost is measured by tests/benchmarks/run.py: the bars idle-*, scale, crowd and slow-senders.
"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import styles
from clients import Client
from command import Service, serving
from crowd import Dripping, crowd, raise_limit, room_for
from patience import PATIENCE, wait_until
from procfs import census

pytestmark = pytest.mark.slow

STYLES = Path(styles.__file__)
IDLE = room_for(10_000)
SLOW = room_for(5_000)
#: How long the fast client goes on next to the slow ones: each of these sends some bytes in that time.
SECONDS = 2.5

HANDLERS = [
    ("BlockingLines", "select"),
    ("capitals", "select"),
    ("ProtocolLines", "asyncio"),
    ("async_lines", "asyncio"),
]


@pytest.fixture(params=HANDLERS, ids="-".join)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service of lines that may have as many descriptors as the system allows."""
    handler, strategy = request.param
    arguments = [f"{STYLES}:{handler}", "tcp://127.0.0.1:0", "-c", strategy]
    with serving(tmp_path, *arguments) as service:
        raise_limit(service.pid)
        yield service


def converse(client: Client, word: bytes) -> None:
    client.sendall(word + b"\n")
    assert client.recv(len(word) + 1, socket.MSG_WAITALL) == word.upper() + b"\n"


def test_idle_connections(service: Service) -> None:
    print(f"{IDLE} idle connections, of 10000 that are meant")
    with service.connect() as client:
        converse(client, b"is it up")  # says that it listens, and makes its loop after that
        held = census(service.pid)
    rest = held._replace(descriptors=held.descriptors - 1)
    with crowd(service.address, IDLE, partial(converse, word=b"hello")) as clients:
        wait_until(
            lambda: census(service.pid).descriptors >= rest.descriptors + IDLE,
            timeout=3 * PATIENCE,
            what=f"{IDLE} connections",
        )
        for number in range(100):
            assert service.ask(b"visitor %d" % number) == b"VISITOR %d\n" % number
        converse(clients[0], b"the first")
        converse(clients[-1], b"the last")
        # None of them was forgotten.
        for number, client in enumerate(clients):
            client.sendall(b"number %d\n" % number)
        for number, client in enumerate(clients):
            answer = b"NUMBER %d\n" % number
            assert client.recv(len(answer), socket.MSG_WAITALL) == answer
        assert census(service.pid).threads == rest.threads
    wait_until(
        lambda: census(service.pid) == rest, timeout=3 * PATIENCE, what=f"what it held at rest, {rest}"
    )


def test_slow_senders_next_to_a_fast_client(
    service: Service, record_property: Callable[[str, object], None]
) -> None:
    print(f"{SLOW} slow connections, of 5000 that are meant")
    slow = Dripping(service.address.address, SLOW)
    try:
        times = []
        until = time.perf_counter() + SECONDS
        with service.connect() as client:
            while (begin := time.perf_counter()) < until:
                converse(client, b"round %d" % len(times))
                times.append(time.perf_counter() - begin)
    finally:
        drip = slow.stop()
    p99 = statistics.quantiles(times, n=100)[-1]
    record_property("p99_seconds", p99)
    print(f"p99 of {len(times)} rounds of a fast client: {1e6 * p99:.0f} us, next to {drip}")
    # Each was slow, and each has been answered; how fast the fast one is, is for a benchmark to say.
    assert drip.wrong == 0
    assert drip.bytes_sent >= 0.5 * drip.connections * drip.seconds
    assert p99 < PATIENCE / 10
