"""Conformance suites on components with a fault each: what a case says of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, NamedTuple

import pytest

from plugport import BaseServer
from plugport.errors import PlugportError
from plugport_testing.conformance import Conformance

#: Closes what faulty components have lost, once the test is over.
LOST: list[Callable[[], object]] = []


class Fault(NamedTuple):
    """A faulty component, and the case that finds it.

    *arguments* are those of the case; *settings* are attributes of the suite besides.
    """

    component: Any
    case: str
    arguments: tuple[str, ...] = ()
    settings: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"{self.component.__name__}-{self.case}"


@contextmanager
def releasing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Release what was lost in the end; what is cut at a deadline has little time to end meanwhile."""
    monkeypatch.setattr("plugport.serving.listener.ABORT_GRACE", 0.05)
    yield
    while LOST:
        LOST.pop()()


def verdict(suite: type[Conformance], case: str, arguments: tuple[str, ...] = (), **settings: Any) -> str:
    """What a case says: the message of its error, "" if it finds nothing.

    It waits a second for what does not come, unless *settings* say otherwise.
    """
    settings = {"patience": 1.0, **settings}
    made = type("Suite", (suite,), settings)
    assert (case, arguments) in list(made.cases()), f"{case}{arguments} is no case of {settings}"
    try:
        getattr(made(), case)(*arguments)
    except (AssertionError, OSError, LookupError, PlugportError) as error:
        return str(error) or repr(error)
    return ""


def new_methods(component: type) -> list[str]:
    """Return the methods of a strategy or server that override none: after a rename it has no fault."""
    bases = (*component.__mro__[1:], *BaseServer.__mro__)
    return [
        name
        for name, value in vars(component).items()
        if isinstance(value, (FunctionType, classmethod)) and not any(name in vars(base) for base in bases)
    ]


def cases_of(*suites: type[Conformance]) -> set[str]:
    """The names of the cases of suites."""
    return {name for suite in suites for name in dir(suite) if name.startswith("test_")}


def found(faults: Iterable[Fault]) -> set[str]:
    """The names of the cases that find one of the faults."""
    return {fault.case for fault in faults}
