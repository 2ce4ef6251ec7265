"""StrategyConformance: all cases of a strategy, on a server of connections and on one of datagrams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from plugport_testing.conformance.datagrams import DatagramConformance
from plugport_testing.conformance.settings import missing_setting
from plugport_testing.conformance.streams import StreamConformance
from plugport_testing.conformance.styled import StyledConformance

__all__ = ["StrategyConformance"]


class StrategyConformance:
    """The cases that every concurrency strategy must pass::

        class TestPooled(StrategyConformance):
            strategy = "pooled"

    A subclass gets two suites, ``TestStreams`` and ``TestDatagrams``, subclasses of StreamConformance and
    DatagramConformance. Its attributes are passed on to the suites that know them.
    """

    #: The strategy: a mix-in class, or the name of an installed one.
    strategy: ClassVar[str | type]

    TestStreams: ClassVar[type[StyledConformance]]
    TestDatagrams: ClassVar[type[StyledConformance]]

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        # Also without a strategy: pytest then reports that it is missing, once.
        cls.TestStreams = _part(cls, "TestStreams", StreamConformance)
        if hasattr(cls, "strategy"):
            cls.TestDatagrams = _part(cls, "TestDatagrams", DatagramConformance)

    @classmethod
    def suites(cls) -> Iterator[type[StyledConformance]]:
        """Yield the two suites. Raises TypeError if the strategy is not set."""
        if not hasattr(cls, "strategy"):
            raise TypeError(missing_setting(cls, *StyledConformance.subject))
        yield cls.TestStreams
        yield cls.TestDatagrams


def _part(
    owner: type[StrategyConformance], name: str, suite: type[StyledConformance]
) -> type[StyledConformance]:
    passed_on = {
        key: value
        for base in reversed(owner.__mro__)
        for key, value in vars(base).items()
        if (hasattr(suite, key) or key == "strategy") and not key.startswith("__")
    }
    place = {"__module__": owner.__module__, "__qualname__": f"{owner.__qualname__}.{name}"}
    return type(name, (suite,), {**passed_on, **place, "settings_class": owner})
