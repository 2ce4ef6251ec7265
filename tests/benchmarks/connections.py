"""What connections cost that do little: memory of idle ones, and what slow ones do to a fast client.

    python tests/benchmarks/connections.py [--idle 10000] [--slow 5000] [--seconds 3] [--rounds 3] [--json]

Run by the Python of an environment that has plugport, on Linux, with nothing else running: the service,
the slow senders and the fast client share the machine, and two processors are as few as will do.

Memory: the growth of the service's proportional set size (Pss in /proc/PID/smaps_rollup) by so many
connections, divided by them: those that have sent nothing, and the same after a line and its answer
each. What the kernel keeps for a socket is not in it.

Time: round trips of a line over one connection, one after the other, for so many seconds: alone, and
next to slow senders of a byte a second each, evenly spread, that come from a process of their own. The
rounds alternate; what is printed is the median over them of each round's p50 and p99.

Each handler of tests/system/styles.py does the same job. In the rows ``by hand`` it is served by nothing but
asyncio's own create_server() or start_server().
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).parents[1] / "helpers"))
sys.path.append(str(Path(__file__).parents[1] / "system"))

import styles
from clients import Client, dial
from command import address_of
from crowd import Dripping, crowd, raise_limit, room_for
from environments import Process
from patience import wait_until
from procfs import descriptors

BY_HAND = "by hand"
#: Strategy, style and handler.
SERVICES = [
    ("select", "blocking", "BlockingLines"),
    ("select", "protocol", "ProtocolLines"),
    ("select", "message", "capitals"),
    ("asyncio", "protocol", "ProtocolLines"),
    ("asyncio", "async", "async_lines"),
    ("asyncio", "message", "capitals"),
    (BY_HAND, "protocol", "ProtocolLines"),
    (BY_HAND, "async", "async_lines"),
]


class Times(NamedTuple):
    """Of many round trips, in microseconds."""

    p50: float
    p99: float


class Service(Process):
    """A service that listens, in a process of its own."""

    def __init__(self, strategy: str, handler: str, folder: Path) -> None:
        if strategy == BY_HAND:
            arguments = [__file__, "--by-hand", handler]
        else:
            target = f"{styles.__file__}:{handler}"
            arguments = ["-m", "plugport", "serve", target, "tcp://127.0.0.1:0", "-c", strategy]
        super().__init__([sys.executable, *arguments], folder / f"{strategy} {handler}.log", cwd=folder)
        self.address = address_of(self.wait_for(r"listening on (\S+)\n")[1])
        self.pid = self._process.pid
        raise_limit(self.pid)

    def memory(self) -> int:
        """The proportional set size in bytes."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


@contextmanager
def running(strategy: str, handler: str) -> Iterator[Service]:
    """Run a service, of which some clients have been served already."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(strategy, handler, Path(folder))
        try:
            rest = len(descriptors(service.pid))
            with crowd(service.address, 100, converse) as clients:
                for client in clients:
                    converse(client)
            wait_until(lambda: len(descriptors(service.pid)) == rest)
            yield service
        finally:
            service.stop()


def converse(client: Client) -> None:
    """One round trip."""
    client.sendall(b"hello, is anybody there\n")
    if client.recv(100) != b"HELLO, IS ANYBODY THERE\n":
        sys.exit("a wrong answer")


def memory_per_connection(service: Service, count: int) -> tuple[float, float]:
    """Bytes for one of so many connections: that has sent nothing, and that has had an answer."""
    before, held = service.memory(), len(descriptors(service.pid))
    with crowd(service.address, count, converse) as clients:
        wait_until(lambda: len(descriptors(service.pid)) >= held + count, timeout=60)
        time.sleep(0.5)  # for what comes after accept(), which does not show
        silent = service.memory()
        for client in clients:
            converse(client)
        used = service.memory()
    wait_until(lambda: len(descriptors(service.pid)) == held, timeout=60)
    return (silent - before) / count, (used - before) / count


def round_trips(service: Service, seconds: float) -> Times:
    """The times of round trips for so many seconds."""
    times = []
    with dial(*service.address) as client:
        for _ in range(200):
            converse(client)
        until = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < until:
            converse(client)
            times.append(time.perf_counter() - begin)
    hundredths = statistics.quantiles(times, n=100)
    return Times(1e6 * hundredths[49], 1e6 * hundredths[98])


def next_to_slow_senders(service: Service, seconds: float, count: int) -> Times:
    """The same, next to so many slow senders."""
    slow = Dripping(service.address.address, count)
    try:
        times = round_trips(service, seconds)
    finally:
        drip = slow.stop()
    if drip.wrong:
        sys.exit(f"{drip.wrong} slow senders had wrong answers")
    return times


def median(rounds: list[Times]) -> Times:
    return Times(*map(statistics.median, zip(*rounds, strict=True)))


def measure(strategy: str, style: str, handler: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one service."""
    with running(strategy, handler) as service:
        silent, used = memory_per_connection(service, options.idle)
        alone, beside = [], []
        for _ in range(options.rounds):
            alone.append(round_trips(service, options.seconds))
            beside.append(next_to_slow_senders(service, options.seconds, options.slow))
    return {
        "strategy": strategy,
        "style": style,
        "bytes_per_silent_connection": round(silent),
        "bytes_per_used_connection": round(used),
        "alone_us": median(alone)._asdict(),
        "next_to_slow_senders_us": median(beside)._asdict(),
        "p99_ratio": median(beside).p99 / median(alone).p99,
    }


def line(row: dict[str, Any]) -> str:
    alone, beside = Times(**row["alone_us"]), Times(**row["next_to_slow_senders_us"])
    return (
        f"{row['strategy']:<9}{row['style']:<10}"
        f"{row['bytes_per_silent_connection']:>9}{row['bytes_per_used_connection']:>9}"
        f"{alone.p50:>9.0f}{alone.p99:>8.0f}{beside.p50:>9.0f}{beside.p99:>8.0f}{row['p99_ratio']:>8.2f}"
    )


async def serve_by_hand(handler: Any) -> None:
    """Serve a protocol or a callback as asyncio's documentation has it."""
    loop = asyncio.get_running_loop()
    make = loop.create_server if isinstance(handler, type) else asyncio.start_server
    server = await make(handler, "127.0.0.1", 0)  # type: ignore[operator]
    print("listening on tcp://{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections")
    parser.add_argument("--slow", type=int, default=5_000, help="slow senders")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds alone, and as many next to slow senders"
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.add_argument("--by-hand", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.by_hand:
        asyncio.run(serve_by_hand(getattr(styles, options.by_hand)))
        return
    options.idle, options.slow = room_for(options.idle), room_for(options.slow)
    if not options.json:
        counts = f"{options.idle} idle connections, {options.slow} slow senders"
        print(f"Python {platform.python_version()}, {counts}")
        print(f"{'':<19}{'bytes a connection':>18}{'alone, us':>17}{'next to slow, us':>17}{'p99':>8}")
        print(f"{'':<19}{'silent':>9}{'used':>9}{'p50':>9}{'p99':>8}{'p50':>9}{'p99':>8}{'ratio':>8}")
    rows = []
    for service in SERVICES:
        rows.append(measure(*service, options))
        if not options.json:
            print(line(rows[-1]), flush=True)
    if options.json:
        described = {"python": platform.python_version(), "idle": options.idle, "slow": options.slow}
        print(json.dumps({**described, "services": rows}, indent=2))


if __name__ == "__main__":
    main()
