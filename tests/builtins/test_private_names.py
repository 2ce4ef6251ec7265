"""Servers and strategies become one class: a private name of the one must not be the other's, too."""

from __future__ import annotations

from typing import Any

import pytest

from plugport import BaseServer
from plugport.plugin.registry import default_registry

SERVERS = ("tcp", "tls", "udp", "unix", "unixgram", "fd", "fdgram")
STRATEGIES = ("sync", "threading", "thread-pool", "forking", "select", "asyncio")


def private_names(cls: type) -> dict[str, Any]:
    """The private names of a class and its bases, but for those of BaseServer's, and where each stands."""
    found = {}
    for base in cls.__mro__:
        if base not in BaseServer.__mro__:
            for name in (*vars(base), *vars(base).get("__annotations__", ())):
                if name.startswith("_") and not name.startswith("__"):
                    found.setdefault(name, base.__qualname__)
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("server", SERVERS)
def test_no_private_name_is_that_of_both(server: str, strategy: str) -> None:
    registry = default_registry()
    of_server = private_names(registry.get("server", server))
    of_strategy = private_names(registry.get("concurrency", strategy))
    assert not {name: (of_server[name], of_strategy[name]) for name in of_server.keys() & of_strategy.keys()}
