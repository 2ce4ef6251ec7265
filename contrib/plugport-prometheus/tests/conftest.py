"""Fixtures: a service with the plugin, and where it tells its metrics."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugport_testing.plugin import Serve

sys.path.insert(0, str(Path(__file__).parent))

Measured = tuple[Any, str]


@pytest.fixture
def measure(plugport_serve: Serve, capfd: pytest.CaptureFixture[str]) -> Callable[..., Measured]:
    """measure(handler, url, strategy, **options) returns the service, and the URL of its metrics."""
    from scraping import ANNOUNCED

    def start(
        handler: Any = "echo",
        url: str = "tcp",
        strategy: str = "threading",
        plugins: tuple[object, ...] = ("prometheus",),
        **options: Any,
    ) -> Measured:
        options = {key.replace("__", "."): value for key, value in options.items()}
        options = {"prometheus.listen": "127.0.0.1:0", **options}
        served = plugport_serve(handler, url, strategy, plugins=plugins, **options)
        found = ANNOUNCED.search(capfd.readouterr().err)
        assert found
        return served, found[1]

    return start
