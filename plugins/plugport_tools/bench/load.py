"""The load that one process makes: clients on a poller. As a script it is that process.

``python -m plugport_tools.bench.load`` reads a Job from standard input, says ``ready``, reads a Window, makes
the load from then on to the end of the window, keeps its connections open until standard input ends,
and writes a Tally to standard output. All but the word is pickled: both sides are one program.
"""

from __future__ import annotations

import gc
import pickle
import sys
from time import monotonic
from typing import NamedTuple

from plugport.serving import make_poller
from plugport_tools.bench.clients import Client, DatagramClient, StreamClient
from plugport_tools.bench.exchange import Address, Exchange
from plugport_tools.bench.tally import Tally, Window

__all__ = ["Job", "Load"]

#: Seconds between two looks at all clients.
_LOOK = 0.02


class Job(NamedTuple):
    """What to do: *clients* at once, each for itself. *timeout*: seconds that an answer may take.

    *folder* is where unix datagram sockets get their names; it is removed by whoever made it.
    """

    address: Address
    exchange: Exchange
    clients: int
    timeout: float
    folder: str


class Load:
    """The clients of a *job*, at work until the end of *window*, and until their last answers have come."""

    def __init__(self, job: Job, window: Window) -> None:
        self.tally = Tally(window)
        self._poller = make_poller()
        kind = StreamClient if job.address.is_stream else DatagramClient
        self._clients: list[Client] = [
            kind(self._poller, self.tally, job.address, job.exchange, job.timeout, job.folder)
            for _ in range(job.clients)
        ]

    def run(self) -> Tally:
        """Make the load. A request that is under way at the end of the window has its timeout to end."""
        for client in self._clients:
            client.begin()
        dispatch, end = self._poller.dispatch, self.tally.window.end
        next_look = 0.0
        while True:
            dispatch(_LOOK)
            now = monotonic()
            if now >= next_look:
                next_look = now + _LOOK
                for client in self._clients:
                    client.look(now)
                if now >= end and all(client.retired for client in self._clients):
                    return self.tally

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()
        self._poller.close()


def _main() -> None:
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    job: Job = pickle.load(source)
    gc.disable()  # nothing here forms circles, and a collection would show in the latencies
    sink.write(b"ready\n")
    sink.flush()
    load = Load(job, pickle.load(source))
    tally = load.run()
    source.read()
    load.close()
    pickle.dump(tally, sink)
    sink.flush()


if __name__ == "__main__":
    _main()
