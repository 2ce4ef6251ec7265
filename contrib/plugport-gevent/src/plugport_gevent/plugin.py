"""The plugin: registers the strategy, and imports neither that nor gevent."""

from collections.abc import Iterator

from plugport import Component, hookimpl

__all__ = ["plugport_register_concurrency"]


@hookimpl
def plugport_register_concurrency() -> Iterator[Component]:
    """Register the strategy gevent."""
    yield Component(
        "gevent",
        "plugport_gevent.greenlets:GeventMixIn",
        "A greenlet for each request, on gevent's hub",
        requires=("gevent",),
    )
