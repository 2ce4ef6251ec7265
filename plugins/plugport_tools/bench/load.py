"""The load that one process makes: clients on a poller. As a script it is that process.

``python -m plugport_tools.bench.load`` reads a Job from standard input, writes ``ready``, reads a Window,
makes the load until the end of the window, keeps its connections open until standard input ends, and
writes a Tally to standard output. Job, Window and Tally are pickled: both sides are the same program.
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

#: Seconds between two checks of all clients.
_CHECK_INTERVAL = 0.02


class Job(NamedTuple):
    """The load of one process: *clients* at once. *timeout*: seconds that an answer may take.

    *folder* holds the files of unix datagram sockets.
    """

    address: Address
    exchange: Exchange
    clients: int
    timeout: float
    folder: str


class Load:
    """The clients of a *job*: they send requests until the end of *window*, and wait for the last answers."""

    def __init__(self, job: Job, window: Window) -> None:
        self.tally = Tally(window)
        self._poller = make_poller()
        kind = StreamClient if job.address.is_stream else DatagramClient
        self._clients: list[Client] = [
            kind(self._poller, self.tally, job.address, job.exchange, job.timeout, job.folder)
            for _ in range(job.clients)
        ]

    def run(self) -> Tally:
        """Make the load. A request that is active at the end of the window still has its timeout."""
        for client in self._clients:
            client.start()
        dispatch, end = self._poller.dispatch, self.tally.window.end
        next_check = 0.0
        while True:
            dispatch(_CHECK_INTERVAL)
            now = monotonic()
            if now >= next_check:
                next_check = now + _CHECK_INTERVAL
                for client in self._clients:
                    client.check(now)
                if now >= end and all(client.finished for client in self._clients):
                    return self.tally

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()
        self._poller.close()


def _main() -> None:
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    job: Job = pickle.load(source)
    gc.disable()  # there are no reference cycles here, and a collection would show in the latencies
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
