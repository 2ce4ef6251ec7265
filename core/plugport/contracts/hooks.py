"""What a server calls at run time: one slot for each hook, None where nobody implements it.

The specifications are in :mod:`plugport.plugin.specs`; :mod:`plugport.plugin.manager` fills the slots.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["NO_HOOKS", "SERVER_HOOKS", "ServerHooks"]

HookCall = Callable[..., Any]

SERVER_HOOKS = (
    "server_bound",
    "server_started",
    "server_draining",
    "server_stopped",
    "child_started",
    "child_exited",
    "service_actions",
    "verify_request",
    "request_started",
    "request_finished",
    "request_failed",
    "request_rejected",
)


class ServerHooks:
    """The hooks of one service, looked up once.

    Each attribute is None, or is called with the keyword arguments of its specification.
    ``verify_request`` answers True, or turns the request away: with the reason, or with False.
    """

    __slots__ = SERVER_HOOKS

    server_bound: HookCall | None
    server_started: HookCall | None
    server_draining: HookCall | None
    server_stopped: HookCall | None
    child_started: HookCall | None
    child_exited: HookCall | None
    service_actions: HookCall | None
    verify_request: Callable[..., bool | str] | None
    request_started: HookCall | None
    request_finished: HookCall | None
    request_failed: HookCall | None
    request_rejected: HookCall | None

    def __init__(self, **calls: HookCall) -> None:
        for name in SERVER_HOOKS:
            setattr(self, name, calls.pop(name, None))
        if calls:
            raise TypeError(f"no such hook: {', '.join(calls)}")

    def in_child(self, request_finished: HookCall) -> ServerHooks:
        """The hooks of a forked child: its parent fires those of the request.

        *request_finished* is called at the request's end, to report it to the parent, if anybody
        there wants to know.
        """
        if self.request_started is self.request_finished is self.request_failed is None:
            return _NO_REPORT
        return ServerHooks(request_finished=request_finished)


_NO_REPORT = ServerHooks()
#: The hooks of a server that no service runs: none. A server that has these is on its own,
#: and reports as the standard library's does.
NO_HOOKS = ServerHooks()
