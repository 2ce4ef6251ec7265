"""Conformance: a suite of cases, each a method that pytest runs once for each value of its parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from plugport.testing.waiting import PATIENCE, wait_until, within

__all__ = ["Conformance"]


class Conformance:
    """Cases that hold for a component; a subclass named ``Test...`` is collected by pytest.

    Each method ``test_...`` is a case. One that takes the suite's parameter is run for each of the
    values that make sense for the component; one for which none does is no method of the subclass.
    None needs a fixture, so that cases can also be called: see cases().
    """

    #: The parameter that cases may take.
    parameter: ClassVar[str]
    #: Member variables that a case does not set by itself.
    members: ClassVar[dict[str, Any]] = {}
    #: Seconds that anything may take on a slow machine.
    patience: ClassVar[float] = PATIENCE

    _values_of: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.prepare():
            return
        cls._values_of = {}
        for name in dir(cls):
            case = getattr(cls, name)
            if not name.startswith("test_") or case is None:
                continue
            if cls.parameter not in case.__code__.co_varnames[: case.__code__.co_argcount]:
                cls._values_of[name] = ()
            elif values := cls.values(case):
                cls._values_of[name] = values
            else:
                setattr(cls, name, None)

    @classmethod
    def prepare(cls) -> bool:
        """Look up what the subclass is about; return whether it says. (A step of subclassing.)"""
        return False

    @classmethod
    def values(cls, case: Any) -> tuple[str, ...]:
        """Return the values of the parameter that a case is run for. (A step of subclassing.)"""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Run a case for each value of its parameter. (A hook of pytest's.)"""
        if self.parameter in metafunc.fixturenames:
            metafunc.parametrize(self.parameter, self._values_of[metafunc.function.__name__])

    @classmethod
    def cases(cls) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each case with its arguments: ``getattr(cls(), name)(*arguments)``."""
        for name, values in cls._values_of.items():
            yield from ((name, (value,)) for value in values) if values else [(name, ())]

    def wait_until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for *condition*; see waiting.wait_until()."""
        return wait_until(condition, self.patience, what)

    def within(self, what: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call *function*, which must return in time; see waiting.within()."""
        return within(self.patience, what, function, *args)
