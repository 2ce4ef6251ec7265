"""Conformance: a suite of cases, each a method that is run once for each value of the suite's parameter."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from plugport.handlers import STYLES, Style
from plugport_testing.conformance.trial import Trial
from plugport_testing.waiting import PATIENCE, wait_until, within

__all__ = ["Conformance", "Needs", "case", "needs_of"]

Case = TypeVar("Case", bound=Callable[..., None])


@dataclass(frozen=True)
class Needs:
    """What a case needs of the component, to make sense for it.

    ``concurrent``   several clients at once, which a serial strategy does not serve
    ``isolated``     a thread or process for each request, as a handler that blocks needs one
    ``styles``       one of these styles: those that can do what it is about
    ``transport``    a server of that kind
    ``port``         an address with a port
    ``file``         an address that is a socket file
    ``member``       a server with that member variable
    """

    concurrent: bool = False
    isolated: bool = False
    styles: Iterable[Style] = STYLES
    transport: Literal["stream", "datagram"] | None = None
    port: bool = False
    file: bool = False
    member: str | None = None


def case(**needs: Any) -> Callable[[Case], Case]:
    """Say of a case what it needs; see Needs."""

    def mark(function: Case) -> Case:
        function._needs = Needs(**needs)  # type: ignore[attr-defined]
        return function

    return mark


def needs_of(function: Any) -> Needs:
    """Return what was said of a case."""
    needs: Needs = getattr(function, "_needs", Needs())
    return needs


class Conformance:
    """Cases that hold for a component; a subclass named ``Test...`` is collected by pytest.

    Each method ``test_...`` is a case. One that takes the suite's parameter is run for each of the
    values that make sense for the component. What makes no sense for it is no method of the
    subclass. None needs a fixture, so that cases can also be called: see cases().
    """

    #: The parameter that cases may take.
    parameter: ClassVar[str]
    #: Member variables that a case does not set by itself.
    options: ClassVar[dict[str, Any]] = {}
    #: Seconds that anything may take on a slow machine.
    patience: ClassVar[float] = PATIENCE

    _values_of: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.prepare():
            return
        cls._values_of = {}
        for name in dir(cls):
            function = getattr(cls, name)
            if not name.startswith("test_") or function is None:
                continue
            values = cls.values(needs_of(function))
            if not _takes(function, cls.parameter):
                values = values and ("",)  # once
            if values:
                cls._values_of[name] = values
            else:
                setattr(cls, name, None)

    @classmethod
    def prepare(cls) -> bool:
        """Look up what the subclass is about; return whether it says. (A step of subclassing.)"""
        return False

    @classmethod
    def values(cls, needs: Needs) -> tuple[str, ...]:
        """Return the values of the parameter that meet what a case needs. (A step of subclassing.)"""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Run a case for each value of its parameter. (A hook of pytest's.)"""
        if not self._values_of:
            raise TypeError(f"{type(self).__name__} does not say what it is to be run on (an attribute)")
        if self.parameter in metafunc.fixturenames:
            metafunc.parametrize(self.parameter, self._values_of[metafunc.function.__name__])

    @classmethod
    def cases(cls) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each case with its arguments: ``getattr(cls(), name)(*arguments)``."""
        for name, values in cls._values_of.items():
            for value in values:
                yield name, (value,) if value else ()

    @contextlib.contextmanager
    def open_trial(self) -> Iterator[Trial]:
        """A service without servers yet, that is stopped when the block ends, and leaves nothing behind."""
        trial = Trial(self.patience)
        try:
            yield trial
        except BaseException:
            trial.abandon()
            raise
        trial.stop()

    def wait_until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for *condition*; see waiting.wait_until()."""
        return wait_until(condition, self.patience, what)

    def within(self, what: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call *function*, which must return in time; see waiting.within()."""
        return within(self.patience, what, function, *args)


def _takes(function: Any, parameter: str) -> bool:
    code = function.__code__
    return parameter in code.co_varnames[: code.co_argcount]
