"""Membership: a server's place in a loop: how it enters, takes requests, watches descriptors, and leaves.

When the loop polls for it is decided in :mod:`plugport.serving.listener`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

from plugport.bridges import adapt
from plugport.contracts.interfaces import ClientAddress, Request
from plugport.contracts.loops import READ, Callback, Loop
from plugport.contracts.requests import RequestHandedOver
from plugport.contracts.traits import Style
from plugport.handlers.styles import evident_style_of
from plugport.serving.declared import Declared
from plugport.serving.intake import Intake
from plugport.serving.preludes import Prelude

__all__ = ["Membership", "has_periodic_work", "not_each_turn"]


_Method = TypeVar("_Method", bound=Callable[..., object])

_NOT_EACH_TURN = "_plugport_not_each_turn"


def not_each_turn(service_actions: _Method) -> _Method:
    """Mark a service_actions() that need not be called in each turn of the loop, only at poll_interval."""
    setattr(service_actions, _NOT_EACH_TURN, True)
    return service_actions


def has_periodic_work(service_actions: Callable[[], object]) -> bool:
    """Return whether *service_actions*, a bound method, must be called in each turn of the loop.

    So it is where a class overrides it, unless it is marked by not_each_turn().
    """
    function = getattr(service_actions, "__func__", service_actions)
    # The base class's does nothing, plugport's and the standard library's.
    base = getattr(sys.modules.get("socketserver"), "BaseServer", None)
    return not (hasattr(function, _NOT_EACH_TURN) or function is getattr(base, "service_actions", None))


class Membership(Declared):
    """The part of a server that a loop and its strategy deal with."""

    #: How the server takes requests, and those that it has taken and not begun.
    intake: Intake
    #: The loop that polls for this server, while one does.
    serving_loop: Loop | None = None
    #: Whether service_actions() must be called in each turn of the loop.
    has_service_actions: bool = True
    _watched: dict[int, Callback]
    #: Ends the wait of the serving loop; None while there is none.
    _wake: Callable[[], None] | None = None

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Make what a loop needs; a subclass written for socketserver may never call __init__()."""
        self = super().__new__(cls, *args, **kwargs)
        self._watched = {}
        self.intake = self.make_intake()
        if cls._handle_request_noblock is not Membership._handle_request_noblock:
            self.intake.take_one_by(self._handle_request_noblock)
        return self

    # Taking requests ----------------------------------------------------------------------------

    def preludes(self) -> Sequence[Prelude]:
        """Return what must be read of each connection before its request begins, in this order.

        Called once, when serving begins. A server of connections may override it, and adds to what its base
        class returns; see :mod:`plugport.serving.preludes`.
        """
        return ()

    @property
    def has_preludes(self) -> bool:
        """Whether connections have preludes, which may have found another client address."""
        return self.intake.pending is not None

    def make_intake(self) -> Intake:
        """Return the intake of a new server. A strategy that takes requests in its own way overrides it."""
        return Intake(self)

    def _handle_request_noblock(self) -> bool:
        """Take one request if one waits. (socketserver's private name, which subclasses override)"""
        return self.intake.take_one()

    def begin_and_process(self, request: Request, client_address: ClientAddress) -> None:
        """Begin a request that was taken, and have the strategy process it."""
        if self.begin_request(request, client_address) is None:
            self.shutdown_request(request)
            return
        try:
            self.process_request(request, client_address)
        except RequestHandedOver:
            return
        except Exception as error:
            self.handle_failure(request, client_address, error)
            self.conclude_request(request)
        except BaseException as error:
            self.fail_request(request, error)
            self.conclude_request(request)
            raise

    # In the loop --------------------------------------------------------------------------------

    def watch(self, fd: int, callback: Callback) -> None:
        """Have the serving loop call *callback*, with the events, whenever *fd* is readable."""
        self._watched[fd] = callback
        if self.serving_loop is not None:
            self.serving_loop.register(fd, READ, callback)

    def unwatch(self, fd: int) -> None:
        """Undo watch(); before *fd* is closed."""
        self._watched.pop(fd, None)
        if self.serving_loop is not None:
            self.serving_loop.unregister(fd)

    def after_fork_in_child(self) -> None:
        """Release, in a forked child, the serving loop and what it watches: the parent has them."""
        self._watched.clear()
        self.intake.abandon()
        self._wake = None
        if self.serving_loop is not None:
            self.serving_loop.abandon()
            self.serving_loop = None

    def adapt_handler(self, style: Style) -> None:
        """Put RequestHandlerClass, a handler of *style*, behind a bridge to a style that the strategy drives.

        A service does this for its servers. For a server without a service serve_forever() does it, and takes
        a handler that is not clearly of another style for a blocking one, as socketserver would. Raises
        IncompatibleError if there is no bridge.
        """
        traits = self.strategy_traits
        driven = frozenset(traits.drives)
        self.handler_style, self.RequestHandlerClass = adapt(
            self.RequestHandlerClass,
            style,
            driven,
            stream=self.is_stream(),
            shares_thread=traits.shares_thread,
            secured=driven - frozenset(traits.secures) if self.server_traits.secure else frozenset(),
        )

    def enter_loop(self, loop: Loop) -> None:
        """Called when *loop* begins to poll for the server."""
        if self.handler_style is None:
            self.adapt_handler(evident_style_of(self.RequestHandlerClass))
        self.has_service_actions = has_periodic_work(self.service_actions)
        self.serving_loop = loop
        for fd, callback in self._watched.items():
            loop.register(fd, READ, callback)
        self.intake.enter_loop(loop, self.preludes() if self.intake.pending is None else ())

    def leave_loop(self, loop: Loop) -> None:
        """Called when *loop* has ceased to poll for the server."""
        self.intake.leave_loop()
        self.serving_loop = None
        for fd in self._watched:
            loop.unregister(fd)
