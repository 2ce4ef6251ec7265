"""The plugin: what this package registers. It imports neither gevent nor the strategy."""

from collections.abc import Iterator

from plugport import Component, hookimpl

__all__ = ["plugport_register_concurrency"]


@hookimpl
def plugport_register_concurrency() -> Iterator[Component]:
    """One strategy."""
    yield Component(
        "gevent",
        "plugport_gevent.greenlets:GeventMixIn",
        "A greenlet for each request, on gevent's hub",
        requires=("gevent",),
    )
