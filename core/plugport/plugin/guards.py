"""Guards around hookimpls: what one raises is logged, and harms neither the request nor the others.

A guard takes the place of the function in pluggy's HookImpl, so that pluggy's ordering and
wrappers work as ever, and a call costs one ``try`` more. Where there are no wrappers, what pluggy
would find out at each call, whom to call with what, is found out once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any

import pluggy

from plugport.contracts.hooks import SERVER_HOOKS, ServerHooks
from plugport.errors import PlugportError

__all__ = ["server_hooks"]

logger = logging.getLogger("plugport.hooks")

_VERIFY = "plugport_verify_request"
#: Where a hookimpl may keep the service from starting, by an error of plugport's.
_BOUND = "plugport_server_bound"
#: Marks a guard, so that no hookimpl gets two.
_GUARDED = "_plugport_guarded"


def server_hooks(manager: pluggy.PluginManager, monitored: frozenset[str] = frozenset()) -> ServerHooks:
    """Put guards around the hookimpls of run-time hooks; return the hooks that have any.

    Those that are *monitored* are returned although nobody implements them, and called by the
    manager: it is pluggy that lets calls be monitored.
    """
    calls: dict[str, Callable[..., Any]] = {}
    for name in SERVER_HOOKS:
        caller = getattr(manager.hook, f"plugport_{name}")
        impls = caller.get_hookimpls()
        for impl in impls:
            if not hasattr(impl.function, _GUARDED):
                guard = _guard_wrapper if impl.wrapper or impl.hookwrapper else _guard
                impl.function = guard(caller.name, impl.plugin_name, impl.function)
                setattr(impl.function, _GUARDED, True)
        if name in monitored:
            calls[name] = caller
        elif impls:
            calls[name] = _without_detours(caller)
    if "verify_request" in calls:
        calls["verify_request"] = _all(calls["verify_request"])
    return ServerHooks(**calls)


def _without_detours(caller: pluggy.HookCaller) -> Callable[..., Any]:
    """Return what calls the hookimpls of *caller* as it would itself: the last registered first."""
    impls = caller.get_hookimpls()
    if any(impl.wrapper or impl.hookwrapper for impl in impls):
        return caller
    functions = [(impl.function, impl.argnames) for impl in reversed(impls)]

    def call(**arguments: object) -> list[object]:
        answers = [function(*[arguments[name] for name in names]) for function, names in functions]
        return [answer for answer in answers if answer is not None]

    return call


def _all(verify: Callable[..., list[object]]) -> Callable[..., bool | str]:
    """Answer once for all hookimpls: pluggy leaves out the None of those with no opinion.

    True lets the request pass. The first other answer is the one that is given: a reason, or False.
    """

    def verify_request(**arguments: object) -> bool | str:
        try:
            for answer in verify(**arguments):
                if answer is not True and (not answer or isinstance(answer, str)):
                    return str(answer) if answer else False
        except Exception:  # a wrapper made something else of the list of answers
            logger.exception("%s answered with no list of answers", _VERIFY)
            return False
        return True

    return verify_request


def _report(hook: str, plugin: str) -> None:
    logger.exception("hook %s of plugin %s raised", hook, plugin)


def _guard(hook: str, plugin: str, function: Callable[..., Any]) -> Callable[..., Any]:
    # Who can't say whether a request may begin turns it away.
    instead = False if hook == _VERIFY else None
    lets_pass = PlugportError if hook == _BOUND else ()

    @wraps(function)
    def guarded(*args: object, **kwargs: object) -> object:
        try:
            return function(*args, **kwargs)
        except lets_pass:
            raise
        except (Exception, SystemExit):
            _report(hook, plugin)
            return instead

    return guarded


def _guard_wrapper(hook: str, plugin: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a wrapper: a generator around the call of the others, of pluggy's old or new kind."""

    @wraps(function)
    def guarded(*args: object, **kwargs: object) -> Generator[None, Any, Any]:
        try:
            wrapper = function(*args, **kwargs)
            next(wrapper)
        except (Exception, SystemExit):  # StopIteration, when it did not yield, among them
            _report(hook, plugin)
            return _refused(hook, (yield))
        outcome = yield
        try:
            wrapper.send(outcome)
        except StopIteration as stop:
            return stop.value
        except (Exception, SystemExit):
            _report(hook, plugin)
        else:
            wrapper.close()
            logger.error("hook %s of plugin %s yielded twice", hook, plugin)
        return _refused(hook, outcome)

    return guarded


def _refused(hook: str, outcome: Any) -> Any:
    """What a call comes to whose wrapper failed: the others' answer, but for verify_request a no."""
    if hook != _VERIFY:
        return outcome
    if isinstance(outcome, pluggy.Result):
        outcome.force_result([False])
    return [False]
