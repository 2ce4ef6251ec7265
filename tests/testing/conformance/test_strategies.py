"""The conformance of the built-in strategies, each on the built-in servers."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from patience import PATIENCE

from plugport_builtins.concurrency.asyncio import AsyncioMixIn
from plugport_builtins.concurrency.forking import ForkingMixIn
from plugport_builtins.concurrency.select import SelectMixIn
from plugport_builtins.concurrency.sync import SyncMixIn
from plugport_builtins.concurrency.thread_pool import ThreadPoolMixIn
from plugport_builtins.concurrency.threading import ThreadingMixIn
from plugport_builtins.servers.tcp import TCPServer
from plugport_builtins.servers.udp import UDPServer
from plugport_builtins.servers.unix import UnixDatagramServer, UnixStreamServer
from plugport_testing.conformance import Conformance, DatagramConformance, StreamConformance

STRATEGIES: dict[str, dict[str, Any]] = {
    "Sync": {"strategy": SyncMixIn},
    "Threading": {"strategy": ThreadingMixIn},
    "ThreadPool": {"strategy": ThreadPoolMixIn},
    "Forking": {"strategy": ForkingMixIn, "client_count": 100},
    "Select": {"strategy": SelectMixIn, "at_once": 1000},
    "Asyncio": {"strategy": AsyncioMixIn},
}
if importlib.util.find_spec("uvloop"):
    # The first loop takes a pipe that stays with the process: no leak of a case's.
    importlib.import_module("uvloop").new_event_loop().close()
    STRATEGIES["Uvloop"] = {
        "strategy": AsyncioMixIn,
        "options": {"loop_factory": "uvloop:new_event_loop"},
        "client_count": 100,
    }

#: The transport is the same as for TCP, and the system's buffers are smaller.
SMALL = {"client_count": 100, "large": 4 * 2**20, "buffers": 4 * 2**20}
SERVERS: dict[str, tuple[type[Conformance], dict[str, Any]]] = {
    "TCP": (StreamConformance, {"server": TCPServer, "url": "tcp://127.0.0.1:0"}),
    "Unix": (StreamConformance, {"server": UnixStreamServer, "url": "unix://{folder}/socket", **SMALL}),
    "UDP": (DatagramConformance, {"server": UDPServer, "url": "udp://127.0.0.1:0"}),
    "Unixgram": (DatagramConformance, {"server": UnixDatagramServer, "url": "unixgram://{folder}/socket"}),
}

for name, of_strategy in STRATEGIES.items():
    for server, (suite, of_server) in SERVERS.items():
        globals()[f"Test{name}{server}"] = type(
            f"Test{name}{server}",
            (suite,),
            {**of_strategy, **of_server, "patience": PATIENCE, "__module__": __name__},
        )
