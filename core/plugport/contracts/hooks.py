"""ServerHooks: the run-time hooks that a server calls, with a slot for each.

The specifications are in :mod:`plugport.plugin.specs`; :mod:`plugport.plugin.guards` fills the slots.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["NO_HOOKS", "SERVER_HOOKS", "ServerHooks"]

HookCall = Callable[..., object]

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

    Each attribute is None if no plugin implements the hook, else a function that takes the keyword
    arguments of the specification. ``verify_request`` returns True to accept a request; it returns the
    reason, or False, to reject it.
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
        """Return the hooks of a forked child; its parent calls the hooks of the request.

        *request_finished* is called at the end of the request and reports it to the parent. There is no
        report if no plugin implements a hook of the request.
        """
        if self.request_started is self.request_finished is self.request_failed is None:
            return _NO_REPORT
        return ServerHooks(request_finished=request_finished)


_NO_REPORT = ServerHooks()
#: The hooks of a server that no service runs: none. Such a server reports errors as the standard library's.
NO_HOOKS = ServerHooks()
