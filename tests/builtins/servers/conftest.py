"""Fixtures for tests of the server tls."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import authority

from plugport_testing.serving import serve


@pytest.fixture
def certfile(tmp_path: Path) -> Path:
    return authority().write(tmp_path / "certificate.pem")


@pytest.fixture
def start(certfile: Path, no_leaks: None) -> Iterator[Callable[..., Any]]:
    """start(handler, strategy, **options) serves over TLS until the end of the test."""
    with contextlib.ExitStack() as stack:

        def start(handler: Any, strategy: str = "threading", **options: Any) -> Any:
            options = {"certfile": str(certfile), **options}
            served = serve(handler, "tls://127.0.0.1:0", strategy, options=options)
            stack.callback(served.stop)
            return served

        yield start
