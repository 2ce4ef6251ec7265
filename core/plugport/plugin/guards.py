"""Guards around hookimpls: an exception of one is logged, and harms neither the request nor the others.

A service has a plugin manager of its own, in which each hookimpl of a run-time hook is registered behind a
guard; so pluggy's order and wrappers hold, and a call costs one ``try`` more. Where there are no wrappers the
functions to call, and their arguments, are found once and not at each call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from functools import wraps

import pluggy

from plugport.contracts.hooks import SERVER_HOOKS, ServerHooks
from plugport.errors import PlugportError
from plugport.plugin.hookimpls import HookFunction

__all__ = ["guard", "server_hooks"]

logger = logging.getLogger("plugport.hooks")

_PREFIX = "plugport_"
_GUARDED = frozenset(_PREFIX + name for name in SERVER_HOOKS)
_VERIFY = "plugport_verify_request"
#: A hookimpl of this hook keeps the service from starting by a PlugportError.
_BOUND = "plugport_server_bound"

#: What a hook wrapper is sent and returns: the list of the others' answers, or pluggy.Result in the old kind.
_Wrapper = Generator[None, object, object]


def guard(hook: str, plugin: str, function: HookFunction, *, is_wrapper: bool) -> HookFunction:
    """Return *function* behind a guard, if *hook* is called at run time. (plugport.plugin.hookimpls.Wrap)"""
    if hook not in _GUARDED:
        return function
    return (_guard_wrapper if is_wrapper else _guard)(hook, plugin, function)


def server_hooks(manager: pluggy.PluginManager, monitored: frozenset[str] = frozenset()) -> ServerHooks:
    """Return the run-time hooks that have hookimpls in *manager*, where these are guarded.

    Hooks that are *monitored* are returned although no plugin implements them, and called by the manager:
    pluggy is what calls the monitors.
    """
    calls: dict[str, Callable[..., object]] = {}
    for name in SERVER_HOOKS:
        caller: pluggy.HookCaller = getattr(manager.hook, _PREFIX + name)
        if name in monitored:
            calls[name] = caller
        elif caller.get_hookimpls():
            calls[name] = _direct_call(caller)
    if "verify_request" in calls:
        calls["verify_request"] = _verdict_of_all(calls["verify_request"])
    return ServerHooks(**calls)


def _direct_call(caller: pluggy.HookCaller) -> Callable[..., object]:
    """Return a function that calls the hookimpls of *caller* as that would: the last registered first."""
    impls = caller.get_hookimpls()
    if any(impl.wrapper or impl.hookwrapper for impl in impls):
        return caller
    functions = [(impl.function, impl.argnames) for impl in reversed(impls)]

    def call(**arguments: object) -> list[object]:
        answers = [function(*[arguments[name] for name in names]) for function, names in functions]
        return [answer for answer in answers if answer is not None]

    return call


def _verdict_of_all(verify: Callable[..., object]) -> Callable[..., bool | str]:
    """Return a function that combines the answers of all hookimpls; pluggy leaves out each None.

    It returns True to let the request begin, else the first other answer: a reason, or False.
    """

    def verify_request(**arguments: object) -> bool | str:
        try:
            answers = verify(**arguments)
            assert isinstance(answers, list)
            for answer in answers:
                if answer is not True and (not answer or isinstance(answer, str)):
                    return str(answer) if answer else False
        except Exception:  # a wrapper has put something else in the place of the list
            logger.exception("%s returned no list of answers", _VERIFY)
            return False
        return True

    return verify_request


def _report(hook: str, plugin: str) -> None:
    logger.exception("hook %s of plugin %s raised", hook, plugin)


def _guard(hook: str, plugin: str, function: HookFunction) -> HookFunction:
    # A hookimpl that can't answer whether a request may begin rejects it.
    instead = False if hook == _VERIFY else None
    passed_on = PlugportError if hook == _BOUND else ()

    @wraps(function)
    def guarded(*args: object, **kwargs: object) -> object:
        try:
            return function(*args, **kwargs)
        except passed_on:
            raise
        except (Exception, SystemExit):
            _report(hook, plugin)
            return instead

    return guarded


def _guard_wrapper(hook: str, plugin: str, function: HookFunction) -> HookFunction:
    """The same for a hook wrapper: a generator around the call of the others."""

    @wraps(function)
    def guarded(*args: object, **kwargs: object) -> _Wrapper:
        try:
            wrapper = function(*args, **kwargs)
            assert isinstance(wrapper, Generator)
            next(wrapper)
        except (Exception, SystemExit):  # StopIteration too, of one that did not yield
            _report(hook, plugin)
            return _failed(hook, (yield))
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
        return _failed(hook, outcome)

    return guarded


def _failed(hook: str, outcome: object) -> object:
    """Return the result of a call whose wrapper failed: the others' answers, or a rejection."""
    if hook != _VERIFY:
        return outcome
    if isinstance(outcome, pluggy.Result):
        outcome.force_result([False])
    return [False]
