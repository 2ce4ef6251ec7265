"""HookTrace: the calls of hooks told on standard error, line by line, where PLUGPORT_TRACE says so.

Rests on pluggy's monitoring of calls; what each implementation answers is told by a function put
before it. Imported only when there is something to trace.
"""

from __future__ import annotations

import inspect
import os
import select
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import wraps
from reprlib import Repr
from time import perf_counter
from typing import Any

import pluggy

from plugport.contracts.component import Component
from plugport.contracts.wording import nearest
from plugport.errors import UnknownNameError
from plugport.plugin.specs import HOOKS

__all__ = ["HookTrace", "hooks_to_trace"]

#: Bytes that a pipe takes whole (POSIX, limits.h).
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
    """Tells of the calls of *hooks*, which are named without their prefix.

    A call has a line when it begins, with its arguments; one for each implementation that
    answered, and one when it ends, with the result and the milliseconds. What is called within it
    is indented. A line begins with the process and the thread, and is written whole.
    """

    def __init__(self, hooks: frozenset[str]) -> None:
        self.hooks = hooks
        self._here = _Calls()

    def attach(self, manager: pluggy.PluginManager) -> None:
        """Follow the calls that *manager* makes from now on."""
        manager.add_hookcall_monitoring(self._before, self._after)

    def follow(self, impl: Any, hook: str) -> None:
        """Tell what *impl* answers, pluggy's HookImpl of *hook*, be it called by the manager or alone."""
        name = hook.removeprefix("plugport_")
        if name in self.hooks:
            impl.function = self._told(name, impl)

    def _before(self, hook: str, impls: Sequence[pluggy.HookImpl], arguments: Mapping[str, Any]) -> None:
        name = hook.removeprefix("plugport_")
        if name in self.hooks:
            self._tell(f"{name}{_arguments(arguments)}{'' if impls else ': nobody implements it'}")
            self._here.open.append((name, perf_counter()))

    def _after(
        self,
        outcome: pluggy.Result[Any],
        hook: str,
        impls: Sequence[pluggy.HookImpl],
        arguments: Mapping[str, Any],
    ) -> None:
        if hook.removeprefix("plugport_") in self.hooks:
            name, began = self._here.open.pop()
            if impls:
                error = outcome.exception
                self._tell_end(name, began, outcome.get_result() if error is None else None, error)

    def _told(self, name: str, impl: Any) -> Callable[..., Any]:
        function = impl.function
        is_wrapper = impl.wrapper or impl.hookwrapper

        @wraps(function)
        def told(*args: Any) -> Any:
            what = f"{name} of {impl.plugin_name}"
            if self._here.innermost != name:  # called alone: no line has told with what
                what += _arguments(dict(zip(impl.argnames, args, strict=True)))
            began = perf_counter()
            try:
                result = function(*args)
            except BaseException as error:
                self._tell_end(what, began, None, error)
                raise
            if is_wrapper:
                return self._told_wrapper(what, began, result)
            if inspect.isgenerator(result):
                return self._told_items(what, began, result)
            self._tell_end(what, began, result, None)
            return result

        return told

    def _told_wrapper(
        self, what: str, began: float, wrapper: Generator[Any, Any, Any]
    ) -> Generator[Any, Any, Any]:
        """Go on with a wrapper, a generator around the call of the others, and tell when it ends."""
        try:
            result = yield from wrapper
        except BaseException as error:
            self._tell_end(what, began, None, error)
            raise
        self._tell_end(what, began, result, None)
        return result

    def _told_items(self, what: str, began: float, items: Iterator[Any]) -> Iterator[Any]:
        """Go on with an answer that is made item by item, and tell when all are."""
        made = []
        try:
            for item in items:
                made.append(item)
                yield item
        except BaseException as error:
            self._tell_end(what, began, None, error)
            raise
        self._tell_end(what, began, made, None)

    def _tell_end(self, what: str, began: float, result: Any, error: BaseException | None) -> None:
        told = f"-> {_short(result)}" if error is None else f"raised {_short(error)}"
        self._tell(f"{what} {told} in {1000 * (perf_counter() - began):.3f} ms")

    def _tell(self, text: str) -> None:
        indent = "  " * len(self._here.open)
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
    """repr() cut short, of servers where they listen, and of components their names."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 100

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, Component):
            return x.name
        if not isinstance(x, type) and hasattr(x, "listening_url"):
            return str(x.listening_url())
        return super().repr1(x, level)


_repr = _Short()


def _short(value: Any) -> str:
    try:
        text = _repr.repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr() raised {type(error).__name__}>"
    return " ".join(text.split())


def _arguments(arguments: Mapping[str, Any]) -> str:
    return f"({', '.join(f'{name}={_short(value)}' for name, value in arguments.items())})"


def _write(line: str) -> None:
    # In one system call, so that lines of threads and processes don't mix; and not through
    # sys.stderr, whose lock a fork may find locked. In ASCII no cut can hit half a character.
    data = line.encode("ascii", "backslashreplace")[: _PIPE_BUF - 1] + b"\n"
    try:
        os.write(sys.stderr.fileno(), data)
    except (AttributeError, OSError, ValueError):
        pass  # nobody reads it: that must not harm what is traced
