"""The fixture ``service``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import handlers
import pytest
from processes import HANDLERS, Process


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """service(handler, url, *arguments) serves a handler of handlers.py, or one that is installed."""
    processes = []

    def start(handler: str, url: str = "tcp://127.0.0.1:0", *arguments: str) -> Process:
        name = f"{HANDLERS}:{handler}" if hasattr(handlers, handler) else handler
        process = Process((name, url, *arguments), tmp_path / f"log-{len(processes)}")
        processes.append(process)
        process.wait_until_listening()
        return process

    yield start
    for process in processes:
        process.stop()
