"""The plugin of pytest's that plugport brings: fixtures that serve, and look for what is left behind.

It is loaded wherever plugport and pytest are installed, so it imports nothing but pytest; what a
fixture needs is imported when a test asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from plugport_testing.leaks import LeakCheck
    from plugport_testing.served import ServedService

__all__ = ["Serve", "plugport_leaks", "plugport_serve", "pytest_itemcollected"]


class Serve(Protocol):
    """The type of the fixture plugport_serve."""

    def __call__(
        self,
        handler: Any,
        url: str = "tcp://127.0.0.1:0",
        concurrency: Any = None,
        *,
        server: Any = None,
        plugins: Iterable[object] = (),
        **options: Any,
    ) -> ServedService:
        """Serve *handler* until the test has ended; see plugport_testing.serving.serve()."""


@pytest.fixture
def plugport_leaks(tmp_path: Path) -> Iterator[LeakCheck]:
    """Fails a test that leaves a thread, descriptor or child behind, or a socket file in tmp_path."""
    from plugport_testing.leaks import LeakCheck

    before = LeakCheck(tmp_path)
    yield before
    before.assert_unchanged()


@pytest.fixture
def plugport_serve(plugport_leaks: LeakCheck) -> Iterator[Serve]:
    """plugport_serve(handler, url, concurrency, **options) serves that, and returns a ServedService.

    At the end of the test it is drained and stopped. The test fails if that fails, if the service
    has failed, or if anything is left behind.
    """
    from plugport_testing.serving import resolve, serve

    with ExitStack() as services:

        def start(
            handler: Any,
            url: str = "tcp://127.0.0.1:0",
            concurrency: Any = None,
            *,
            server: Any = None,
            plugins: Iterable[object] = (),
            **options: Any,
        ) -> ServedService:
            with plugport_leaks.importing():
                resolve("concurrency", concurrency or "threading")
            served = serve(handler, url, concurrency, server=server, plugins=plugins, options=options)
            services.callback(served.stop)
            return served

        yield start


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let what a test serves fork: Python 3.12 and later warn of it, as a thread of this process serves."""
    conformance = sys.modules.get("plugport_testing.conformance.base")
    suite = getattr(item, "cls", None)
    if "plugport_serve" in getattr(item, "fixturenames", ()) or (
        conformance is not None and suite is not None and issubclass(suite, conformance.Conformance)
    ):
        warning = "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
        item.add_marker(pytest.mark.filterwarnings(warning))
