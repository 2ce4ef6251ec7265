"""StrategyConformance: all cases of a strategy, on a server of connections and on one of datagrams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from plugport_testing.conformance.datagrams import DatagramConformance
from plugport_testing.conformance.streams import StreamConformance
from plugport_testing.conformance.styled import StyledConformance

__all__ = ["StrategyConformance"]


class StrategyConformance:
    """The cases that every concurrency strategy must hold::

        class TestPooled(StrategyConformance):
            strategy = "pooled"

    The subclass gets two suites inside it, ``TestStreams`` and ``TestDatagrams``, subclasses of
    StreamConformance and DatagramConformance that have what it sets of their attributes.
    """

    #: The strategy: a mix-in class, or the name of one that is installed.
    strategy: ClassVar[Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "strategy"):
            cls.TestStreams = _part(cls, "TestStreams", StreamConformance)  # type: ignore[attr-defined]
            cls.TestDatagrams = _part(cls, "TestDatagrams", DatagramConformance)  # type: ignore[attr-defined]

    @classmethod
    def suites(cls) -> Iterator[type[StyledConformance]]:
        """Yield the suites that it consists of."""
        yield cls.TestStreams  # type: ignore[attr-defined]
        yield cls.TestDatagrams  # type: ignore[attr-defined]


def _part(cls: type, name: str, suite: type[StyledConformance]) -> type[StyledConformance]:
    set_there = {
        key: value
        for base in reversed(cls.__mro__)
        for key, value in vars(base).items()
        if hasattr(suite, key) and not key.startswith("__")
    }
    members = {**set_there, "__module__": cls.__module__, "__qualname__": f"{cls.__qualname__}.{name}"}
    return type(name, (suite,), {**members, "strategy": cls.strategy})  # type: ignore[attr-defined]
