"""The plugin: what this package registers. It imports none of it."""

from collections.abc import Iterator

from plugport import Component, hookimpl


@hookimpl
def plugport_register_handlers() -> Iterator[Component]:
    """One handler."""
    yield Component("upper", "plugport_example.upper:UpperHandler", "Send back what comes in capitals")


@hookimpl
def plugport_register_servers() -> Iterator[Component]:
    """One server."""
    yield Component("fair", "plugport_example.fair:FairServer", "TCP, a few connections for each client")


@hookimpl
def plugport_register_concurrency() -> Iterator[Component]:
    """One strategy."""
    yield Component("bounded", "plugport_example.bounded:BoundedMixIn", "A bounded number of threads")
