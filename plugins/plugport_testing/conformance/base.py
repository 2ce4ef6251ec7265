"""Conformance: a suite of cases, which are methods that run once for each value of the suite's parameter."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, ParamSpec, TypeVar

from plugport.handlers import STYLES, Style
from plugport_testing.conformance.settings import missing_setting
from plugport_testing.conformance.trial import Trial
from plugport_testing.waiting import PATIENCE, wait_until, within

if TYPE_CHECKING:
    import pytest

__all__ = ["Conformance", "Needs", "needs_of"]

_Case = TypeVar("_Case", bound=Callable[..., None])
_Result = TypeVar("_Result")
_Parameters = ParamSpec("_Parameters")


@dataclass(frozen=True)
class Needs:
    """What a case needs of the component under test; used as a decorator: ``@Needs(concurrent=True)``.

    ``concurrent``   several clients at the same time, which a serial strategy does not serve
    ``isolated``     a thread or process for each request, so that a handler may block
    ``styles``       one of these styles of handlers
    ``transport``    a server of that kind
    ``port``         an address with a port
    ``file``         an address that is a socket file
    ``option``       a server with that option
    """

    concurrent: bool = False
    isolated: bool = False
    styles: Iterable[Style] = STYLES
    transport: Literal["stream", "datagram"] | None = None
    port: bool = False
    file: bool = False
    option: str | None = None

    def __call__(self, case: _Case) -> _Case:
        """Declare these as the needs of *case*."""
        _needs[case] = self
        return case


_needs: dict[Callable[..., None], Needs] = {}


def needs_of(case: Callable[..., None]) -> Needs:
    """Return the declared needs of a case."""
    return _needs.get(case, Needs())


class Conformance:
    """The base of suites. pytest collects a subclass named ``Test...``.

    Each method ``test_...`` is a case. One that takes the suite's parameter runs for each of the values that
    apply to the component. A case that does not apply to the component is None in the subclass. No case needs
    a fixture, so that cases can be called without pytest: see cases().
    """

    #: The parameter that cases may take.
    parameter: ClassVar[str]
    #: The attribute that a subclass must set, and an example of its value.
    subject: ClassVar[tuple[str, str]]
    #: The class that has the author's attributes, if it is another one.
    settings_class: ClassVar[type | None] = None
    #: Options of the component that all cases set.
    options: ClassVar[Mapping[str, object]] = {}
    #: The longest wait in seconds.
    patience: ClassVar[float] = PATIENCE

    _values_of: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if cls._missing_subject():
            return
        cls.prepare()
        cls._values_of = {}
        for name in dir(cls):
            case = getattr(cls, name)
            if not name.startswith("test_") or case is None:
                continue
            values = cls.values(needs_of(case))
            if cls.parameter not in inspect.signature(case).parameters:
                values = values and ("",)  # it runs once
            if values:
                cls._values_of[name] = values
            else:
                setattr(cls, name, None)

    @classmethod
    def _missing_subject(cls) -> str:
        """Return the message that the subclass does not set its subject, "" if it does."""
        name, example = getattr(cls, "subject", ("subject", '("ATTRIBUTE", "EXAMPLE")'))
        return "" if hasattr(cls, name) else missing_setting(cls.settings_class or cls, name, example)

    @classmethod
    def prepare(cls) -> None:
        """Look up the component that the subclass tests. Called once for each subclass that sets one."""

    @classmethod
    def values(cls, needs: Needs) -> tuple[str, ...]:
        """Return the values of the parameter that a case with these needs runs for; follows prepare()."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a case for each value of its parameter. (A hook of pytest.)"""
        missing = self._missing_subject()
        if missing:
            raise TypeError(missing)
        if self.parameter in metafunc.fixturenames:
            metafunc.parametrize(self.parameter, self._values_of[metafunc.function.__name__])

    @classmethod
    def cases(cls) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each case with its arguments: ``getattr(cls(), name)(*arguments)``.

        Raises TypeError if the suite does not set what it tests.
        """
        missing = cls._missing_subject()
        if missing:
            raise TypeError(missing)
        for name, values in cls._values_of.items():
            for value in values:
                yield name, (value,) if value else ()

    @contextlib.contextmanager
    def open_trial(self) -> Iterator[Trial]:
        """Yield a service without servers; stop it after the block, and check that nothing is left behind."""
        trial = Trial(self.patience)
        try:
            yield trial
        except BaseException:
            trial.abandon()
            raise
        trial.stop()

    def wait_until(self, condition: Callable[[], _Result], what: str) -> _Result:
        """Wait for *condition*; see waiting.wait_until()."""
        return wait_until(condition, self.patience, what)

    def within(
        self,
        what: str,
        function: Callable[_Parameters, _Result],
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> _Result:
        """Call *function*, which must return in time; see waiting.within()."""
        return within(self.patience, what, function, *args, **kwargs)
