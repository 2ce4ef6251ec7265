"""The plugin: what this package registers. It imports neither uvloop nor the strategy."""

from collections.abc import Iterator

from plugport import Component, hookimpl

__all__ = ["plugport_register_concurrency"]


@hookimpl
def plugport_register_concurrency() -> Iterator[Component]:
    """One strategy."""
    yield Component(
        "uvloop",
        "plugport_uvloop.concurrency:UvloopMixIn",
        "asyncio on the event loop of uvloop",
        requires=("uvloop",),
    )
