"""The specifications of plugport's hooks, each with an example.

A plugin is a module (or any object) that an entry point of the group ``plugport`` names. It
implements a hook by a function of the same name, marked with :data:`plugport.hookimpl`. The function
may take fewer arguments than the specification. An exception of a hookimpl is logged, and affects
neither the request nor other hookimpls; the hooks that differ say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from plugport.contracts.component import Component

if TYPE_CHECKING:
    import click

    from plugport.contracts.findings import Finding
    from plugport.contracts.hints import Hints
    from plugport.contracts.interfaces import ClientAddress, Request
    from plugport.contracts.registry import ComponentRegistry
    from plugport.contracts.requests import RequestContext
    from plugport.serving.server import BaseServer
    from plugport.serving.url import Url

__all__ = ["HOOKS", "hookimpl"]

hookspec = pluggy.HookspecMarker("plugport")
#: Marks a function as the implementation of the hook whose name it has.
hookimpl = pluggy.HookimplMarker("plugport")


# Registration -----------------------------------------------------------------------------------


@hookspec
def plugport_register_servers() -> Iterable[Component]:
    """Called when plugins are loaded: return the servers that this plugin brings.

    The name of a server is the scheme of its URLs. Its target is a subclass of plugport's BaseServer
    or of socketserver.BaseServer. A plugin whose registration raises is quarantined as a whole::

        @plugport.hookimpl
        def plugport_register_servers():
            yield plugport.Component("tipc", "plugport_tipc.server:TIPCServer", "TIPC streams")
    """
    return ()


@hookspec
def plugport_register_concurrency() -> Iterable[Component]:
    """Called when plugins are loaded: return the concurrency strategies that this plugin brings.

    The target of each is a mix-in class, which is put before a server class::

        @plugport.hookimpl
        def plugport_register_concurrency():
            yield plugport.Component("eager", "plugport_eager:EagerMixIn", "Threads started early")
    """
    return ()


@hookspec
def plugport_register_handlers() -> Iterable[Component]:
    """Called when plugins are loaded: return the handlers that this plugin brings.

    The target of each is a class or a function, in one of the four styles::

        @plugport.hookimpl
        def plugport_register_handlers():
            yield plugport.Component("upper", "plugport_upper:UpperHandler", "Lines in capitals")
    """
    return ()


@hookspec
def plugport_register_framings() -> Iterable[Component]:
    """Called when plugins are loaded: return the framings that this plugin brings.

    A framing separates the messages of a stream. A message handler selects it by name:
    ``-o framing=NAME``. The target of each is a class like :class:`plugport.handlers.Framing`::

        @plugport.hookimpl
        def plugport_register_framings():
            yield plugport.Component("slip", "plugport_slip:SlipFraming", "SLIP packets (RFC 1055)")
    """
    return ()


@hookspec
def plugport_register_commands() -> Iterable[click.Command]:
    """Called when the command line is built: return the commands that this plugin adds.

    A plugport.cli.LazyCommand is imported only when it is called. Any other click.Command is
    accepted, a click.Group too. Commands get the plugport.cli.Session by click.pass_obj. A command
    whose name is taken is refused, and the plugin that adds it is quarantined::

        @plugport.hookimpl
        def plugport_register_commands():
            from plugport.cli import LazyCommand

            yield LazyCommand("hello", "plugport_hello.command:hello", "Say hello")
    """
    return ()


@hookspec
def plugport_register_hints() -> Hints:
    """Called when a name is unknown: return hints for the error message.

    They name, for example, the distribution that provides a component. Of two hints about one name the
    earlier plugin's is used; the built-ins are the first::

        @plugport.hookimpl
        def plugport_register_hints():
            from plugport.contracts import Hints

            return Hints(components={("handler", "mqtt"): "plugport-mqtt"})
    """
    raise NotImplementedError


@hookspec
def plugport_doctor(urls: tuple[Url, ...], registry: ComponentRegistry) -> Iterable[Finding]:
    """Called by ``plugport doctor``: return what would fail here of what this plugin brings.

    *urls* are the URLs that a service is to listen on; there may be none. *registry* has the
    components that are installed. A finding without a ``check`` gets the name of the plugin. A
    hookimpl that raises is reported as a problem::

        @plugport.hookimpl
        def plugport_doctor(urls):
            if not os.path.exists("/dev/tipc"):
                yield plugport.Finding("problem", "the kernel has no TIPC", "modprobe tipc")
    """
    return ()


# A service is made ----------------------------------------------------------------------------


@hookspec
def plugport_service_plugin() -> type:
    """Called when a service is made: return a class. Its instance is a plugin of that service alone.

    Its methods are hookimpls of the hooks below. Its annotated class attributes are options, set by
    ``NAME.KEY=VALUE``, where NAME is the name of this plugin's entry point, or DISTRIBUTION:NAME. A
    class method ``check_options()`` can check them together. The class is called without arguments
    before anything is bound; an exception keeps the service from starting. A hookimpl that
    ``__init__`` sets to None is not called. Import here what only a service needs::

        @plugport.hookimpl
        def plugport_service_plugin():
            class BlockList:
                blocked: list[str] = []  # plugport serve ... -o blocklist.blocked=192.0.2.1

                @plugport.hookimpl
                def plugport_verify_request(self, client_address):
                    return "blocked" if client_address[0] in self.blocked else None

            return BlockList
    """
    return object


# The life of a server -------------------------------------------------------------------------


@hookspec
def plugport_server_bound(server: BaseServer) -> None:
    """Called when *server* has its address, before it serves.

    A PlugportError keeps the service from starting: the server is closed, server_stopped is called,
    and the error is raised to the caller, or printed by the command line::

        @plugport.hookimpl
        def plugport_server_bound(server):
            announce(server.listening_url())
    """


@hookspec
def plugport_server_started(server: BaseServer) -> None:
    """Called when *server* begins to serve, in the thread that serves.

    ::

        @plugport.hookimpl
        def plugport_server_started(server):
            server.state.started = time.monotonic()
    """


@hookspec
def plugport_server_draining(server: BaseServer) -> None:
    """Called when the drain of *server* begins.

    It accepts the connections that wait in the backlog, and then no more::

        @plugport.hookimpl
        def plugport_server_draining(server):
            deregister(server.listening_url())
    """


@hookspec
def plugport_server_stopped(server: BaseServer) -> None:
    """Called when *server* has been closed, even if it never served.

    ::

        @plugport.hookimpl
        def plugport_server_stopped(server):
            log.info("%s stopped", server.scheme)
    """


@hookspec
def plugport_child_started(server: BaseServer) -> None:
    """Called in a forked child, before its handler goes on.

    ::

        @plugport.hookimpl
        def plugport_child_started(server):
            random.seed()
    """


@hookspec
def plugport_child_exited(server: BaseServer, pid: int, status: int | None) -> None:
    """Called in the parent when the child *pid* was reaped.

    *status* is its exit code, or minus the signal that ended it; None if other code reaped it::

        @plugport.hookimpl
        def plugport_child_exited(server, pid, status):
            if status:
                log.warning("child %d ended with %d", pid, status)
    """


@hookspec
def plugport_service_actions(server: BaseServer) -> None:
    """Called by the serving loop, at most once a second. (socketserver.BaseServer.service_actions)

    ::

        @plugport.hookimpl
        def plugport_service_actions(server):
            gauge.set(len(server.active_requests))
    """


# Requests -------------------------------------------------------------------------------------


@hookspec
def plugport_verify_request(
    server: BaseServer, request: Request, client_address: ClientAddress
) -> bool | str | None:
    """Called before a request begins: one False rejects it, and so does an exception.

    A str rejects it, too: it is the reason, which is logged and passed to request_rejected. Use few
    different reasons: metrics count by reason. True and None accept it, unless another plugin
    rejects it. *request* is the connection, or the pair (datagram, socket). The call is in the
    thread that accepts: it must not wait::

        @plugport.hookimpl
        def plugport_verify_request(server, request, client_address):
            return "blocked" if client_address[0] in blocked else None
    """


@hookspec
def plugport_request_started(context: RequestContext) -> None:
    """Called when a request begins.

    ::

        @plugport.hookimpl
        def plugport_request_started(context):
            log.debug("request %d from %s", context.id, context.client_address)
    """


@hookspec
def plugport_request_finished(context: RequestContext) -> None:
    """Called when a request ends, whatever its outcome: once for each that began.

    ``context.outcome`` is "completed", "failed", "timed-out" or "aborted". The call may be in any
    thread; under strategies that fork it is in the parent::

        @plugport.hookimpl
        def plugport_request_finished(context):
            histogram.observe(context.duration)
    """


@hookspec
def plugport_request_failed(context: RequestContext, error: BaseException) -> None:
    """Called when the handler of a request has raised, before request_finished.

    Under strategies that fork, *error* is a ChildError with the name and the message of the exception
    in the child::

        @plugport.hookimpl
        def plugport_request_failed(context, error):
            sentry.capture(error)
    """


@hookspec
def plugport_request_rejected(server: BaseServer, client_address: ClientAddress, reason: str) -> None:
    """Called when a request is rejected, in the place of request_started.

    ::

        @plugport.hookimpl
        def plugport_request_rejected(server, client_address, reason):
            rejected.inc()
    """


#: The names of all hooks, without their prefix, in the order above.
HOOKS: tuple[str, ...] = tuple(
    name.removeprefix("plugport_") for name in tuple(globals()) if name.startswith("plugport_")
)
