"""HookTrace: the calls of hooks, written to standard error line by line, if PLUGPORT_TRACE is set.

pluggy's monitors report the calls; the answer of each hookimpl is reported by a function in front of it.
Imported only when there is something to trace.
"""

from __future__ import annotations

import inspect
import os
import select
import sys
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import wraps
from reprlib import Repr
from time import perf_counter

import pluggy

from plugport.contracts.component import Component
from plugport.contracts.wording import nearest
from plugport.errors import UnknownNameError
from plugport.plugin.hookimpls import HookFunction
from plugport.plugin.specs import HOOKS

__all__ = ["HookTrace", "hooks_to_trace"]

#: Bytes of an atomic write to a pipe (POSIX, limits.h).
_PIPE_BUF: int = getattr(select, "PIPE_BUF", 512)


def hooks_to_trace(text: str) -> frozenset[str]:
    """Read the value of PLUGPORT_TRACE: 1 for all hooks, "" or 0 for none, else their names.

    The names are separated by commas, with their prefix or without. Raises UnknownNameError.
    """
    text = text.strip()
    if text in ("", "0"):
        return frozenset()
    if text == "1":
        return frozenset(HOOKS)
    names = [name.strip().removeprefix("plugport_") for name in text.split(",")]
    for name in names:
        if name not in HOOKS:
            raise UnknownNameError(
                f"PLUGPORT_TRACE={text}: no hook named {name!r}{nearest(name, HOOKS)} "
                "(1, 0 or names of hooks with commas between them; plugport list hooks)"
            )
    return frozenset(names)


class HookTrace:
    """Reports the calls of *hooks*, which are named without their prefix.

    A call has a line when it begins, with its arguments; one for each hookimpl that answered, and one when it
    ends, with the result and the milliseconds. Calls within it are indented. A line begins with the process
    and the thread, and is written at once.
    """

    def __init__(self, hooks: frozenset[str]) -> None:
        self.hooks = hooks
        self._calls = _Calls()

    def attach(self, manager: pluggy.PluginManager) -> None:
        """Report the calls that *manager* makes from now on."""
        manager.add_hookcall_monitoring(self._before, self._after)

    def traced(self, hook: str, plugin: str, function: HookFunction, *, is_wrapper: bool) -> HookFunction:
        """Return *function* behind a report of its answers, if *hook* is traced; see hookimpls.Wrap."""
        name = hook.removeprefix("plugport_")
        if name not in self.hooks:
            return function
        parameters = tuple(inspect.signature(function).parameters)

        def what(args: tuple[object, ...]) -> str:
            if self._calls.innermost == name:
                return f"{name} of {plugin}"
            # Called alone: no line has its arguments.
            return f"{name} of {plugin}{_arguments(dict(zip(parameters, args, strict=True)))}"

        @wraps(function)
        def reported(*args: object) -> object:
            began, call = perf_counter(), what(args)
            try:
                result = function(*args)
            except BaseException as error:
                self._write_end(call, began, None, error)
                raise
            if inspect.isgenerator(result):
                return self._report_items(call, began, result)
            self._write_end(call, began, result, None)
            return result

        @wraps(function)
        def reported_wrapper(*args: object) -> Generator[object, object, object]:
            began, call = perf_counter(), what(args)
            wrapper = function(*args)
            assert isinstance(wrapper, Generator)
            try:
                result: object = yield from wrapper
            except BaseException as error:
                self._write_end(call, began, None, error)
                raise
            self._write_end(call, began, result, None)
            return result

        return reported_wrapper if is_wrapper else reported

    def _before(self, hook: str, impls: Sequence[pluggy.HookImpl], arguments: Mapping[str, object]) -> None:
        name = hook.removeprefix("plugport_")
        if name in self.hooks:
            self._write(f"{name}{_arguments(arguments)}{'' if impls else ': nobody implements it'}")
            self._calls.open.append((name, perf_counter()))

    def _after(
        self,
        outcome: pluggy.Result[object],
        hook: str,
        impls: Sequence[pluggy.HookImpl],
        arguments: Mapping[str, object],
    ) -> None:
        if hook.removeprefix("plugport_") in self.hooks:
            name, began = self._calls.open.pop()
            if impls:
                error = outcome.exception
                self._write_end(name, began, outcome.get_result() if error is None else None, error)

    def _report_items(self, what: str, began: float, items: Iterator[object]) -> Iterator[object]:
        """Pass on the items of a generator, and report them at its end."""
        made = []
        try:
            for item in items:
                made.append(item)
                yield item
        except BaseException as error:
            self._write_end(what, began, None, error)
            raise
        self._write_end(what, began, made, None)

    def _write_end(self, what: str, began: float, result: object, error: BaseException | None) -> None:
        text = f"-> {_short(result)}" if error is None else f"raised {_short(error)}"
        self._write(f"{what} {text} in {1000 * (perf_counter() - began):.3f} ms")

    def _write(self, text: str) -> None:
        indent = "  " * len(self._calls.open)
        _write(f"plugport: trace: {os.getpid()} {threading.current_thread().name}: {indent}{text}")


class _Calls(threading.local):
    """The calls of this thread that have begun and not ended: their hooks, and when they began."""

    def __init__(self) -> None:
        self.open: list[tuple[str, float]] = []

    @property
    def innermost(self) -> str | None:
        """The hook of the last of them."""
        return self.open[-1][0] if self.open else None


class _Short(Repr):
    """repr() of limited length; of servers their URLs, of components their names."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 100

    def repr1(self, x: object, level: int) -> str:
        if isinstance(x, Component):
            return x.name
        if not isinstance(x, type) and hasattr(x, "listening_url"):
            return str(x.listening_url())
        return super().repr1(x, level)


_repr = _Short()


def _short(value: object) -> str:
    try:
        text = _repr.repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr() raised {type(error).__name__}>"
    return " ".join(text.split())


def _arguments(arguments: Mapping[str, object]) -> str:
    return f"({', '.join(f'{name}={_short(value)}' for name, value in arguments.items())})"


def _write(line: str) -> None:
    # In one system call, so that lines of threads and processes don't mix; and not through sys.stderr, whose
    # lock may be held when the process forks. In ASCII, so that the limit splits no character.
    data = line.encode("ascii", "backslashreplace")[: _PIPE_BUF - 1] + b"\n"
    try:
        os.write(sys.stderr.fileno(), data)
    except (AttributeError, OSError, ValueError):
        pass  # standard error is closed: the service goes on
