"""The pytest plugin: fixtures that serve a combination and check for leaks.

pytest loads it wherever plugport and pytest are installed, so it imports nothing but pytest. What a fixture
needs is imported when a test asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from plugport.contracts import Handler
    from plugport_testing.leaks import LeakCheck
    from plugport_testing.served import ServedService

__all__ = ["Serve", "plugport_leaks", "plugport_serve", "pytest_itemcollected"]

_DEFAULT_URL = "tcp://127.0.0.1:0"


class Serve(Protocol):
    """The type of the fixture plugport_serve."""

    def __call__(
        self,
        handler: str | Handler,
        url: str = _DEFAULT_URL,
        concurrency: str | type | None = None,
        *,
        server: str | type | None = None,
        plugins: Iterable[object] = (),
        **options: object,
    ) -> ServedService:
        """Serve *handler* until the test ends; see plugport_testing.serving.serve()."""


@pytest.fixture
def plugport_leaks(tmp_path: Path) -> Iterator[LeakCheck]:
    """Fail a test that leaves a thread, a descriptor or a child, or a socket file in tmp_path."""
    from plugport_testing.leaks import LeakCheck

    check = LeakCheck(tmp_path)
    yield check
    check.assert_unchanged()


@pytest.fixture
def plugport_serve(plugport_leaks: LeakCheck) -> Iterator[Serve]:
    """Return a function: plugport_serve(handler, url, concurrency, **options) returns a ServedService.

    When the test ends, each service is drained and stopped. The test fails if that fails, if a service has
    failed, or if anything is left behind.
    """
    from plugport_testing.serving import resolve, serve

    with ExitStack() as services:

        def start(
            handler: str | Handler,
            url: str = _DEFAULT_URL,
            concurrency: str | type | None = None,
            *,
            server: str | type | None = None,
            plugins: Iterable[object] = (),
            **options: object,
        ) -> ServedService:
            with plugport_leaks.importing():
                resolve("concurrency", concurrency or "threading")
            served = serve(handler, url, concurrency, server=server, plugins=plugins, options=options)
            services.callback(served.stop)
            return served

        yield start


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a served strategy fork: Python 3.12 and later warn of it, as a thread of this process serves."""
    conformance = sys.modules.get("plugport_testing.conformance.base")
    suite = getattr(item, "cls", None)
    if "plugport_serve" in getattr(item, "fixturenames", ()) or (
        conformance is not None and suite is not None and issubclass(suite, conformance.Conformance)
    ):
        warning = "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
        item.add_marker(pytest.mark.filterwarnings(warning))
