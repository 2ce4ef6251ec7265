"""Many connections to one service: a crowd of clients that are idle, and one of clients that drip.

As a script, ``crowd.py HOST PORT COUNT``: the latter, in a process of its own. Each of its clients
sends a byte a second, all evenly spread, until standard input ends; then each ends its line, and its
answers are checked. Prints ``ready`` when all are connected and drip, and a Drip in JSON at the end.
"""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from clients import Client, dial
from patience import PATIENCE

__all__ = ["Drip", "Dripping", "crowd", "raise_limit", "room_for"]

#: Descriptors that a process needs for everything else.
_OTHERS = 200
#: Connections that are made at once; fewer than the backlog of a service has room for.
_PARTY = 100
#: The line that slow senders send again and again, a byte a second.
LINE = b"drip drop\n"


def raise_limit(pid: int = 0) -> int:
    """Raise a process's soft limit of descriptors to the hard one; return what it was."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def room_for(count: int) -> int:
    """As many connections as *count*, or as the hard limit of descriptors allows, if that is less."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return count if hard == resource.RLIM_INFINITY else min(count, hard - _OTHERS)


@contextmanager
def crowd(address: Any, count: int, converse: Callable[[Client], object]) -> Iterator[list[Client]]:
    """So many connections; *address* is what dial() takes. The limit of descriptors is raised meanwhile.

    Now and then *converse* has a round trip over one, so that they don't overrun the backlog: what
    does may be refused without its client's hearing of it.
    """
    soft = raise_limit()
    try:
        with ExitStack() as stack:
            clients = []
            for number in range(count):
                clients.append(stack.enter_context(dial(*address)))
                if number % _PARTY == 0:
                    converse(clients[-1])
            yield clients
    finally:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Drip:
    """What came of a crowd that dripped."""

    connections: int
    seconds: float
    bytes_sent: int
    #: The longest that a byte was sent after its time, in seconds.
    latest: float
    #: Connections whose answers were not those to their lines.
    wrong: int


class Dripping:
    """A crowd that drips, in a process of its own, from its making until stop()."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *map(str, (*address, count))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        try:
            # All connections are made within a bounded time, or the process ends.
            assert self._process.stdout.readline() == "ready\n"
        except BaseException:
            self._process.kill()
            self._process.communicate()
            raise

    def stop(self) -> Drip:
        """Let them end their lines, and see what they were answered."""
        try:
            output, _ = self._process.communicate(timeout=6 * PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
        assert self._process.returncode == 0
        return Drip(**json.loads(output))


def _drip(host: str, port: int, count: int) -> Drip:
    stopped = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
    with crowd((socket.AF_INET, socket.SOCK_STREAM, (host, port)), count, _converse) as clients:
        print("ready", flush=True)
        begin = time.monotonic()
        sent, latest = 0, 0.0
        while not stopped.is_set():
            now = time.monotonic() - begin
            due = int(now * count)
            if sent < due:
                latest = max(latest, now - sent / count)
            for number in range(sent, due):
                position = number // count % len(LINE)
                clients[number % count].send(LINE[position : position + 1])
            sent = due
            time.sleep(max((sent + 1) / count - (time.monotonic() - begin), 0))
        seconds = time.monotonic() - begin
        wrong = sum(
            _ends_wrong(client, sent // count + (number < sent % count))
            for number, client in enumerate(clients)
        )
    return Drip(count, seconds, sent, latest, wrong)


def _converse(client: Client) -> None:
    client.sendall(LINE)
    assert client.recv(len(LINE), socket.MSG_WAITALL) == LINE.upper()


def _ends_wrong(client: Client, sent: int) -> bool:
    """End the line that *client* is at, and say whether it gets other answers than it should."""
    whole, begun = divmod(sent, len(LINE))
    client.sendall(b"\n")
    expected = LINE.upper() * whole + LINE[:begun].upper() + b"\n"
    return client.recv(len(expected), socket.MSG_WAITALL) != expected


if __name__ == "__main__":
    print(json.dumps(asdict(_drip(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
