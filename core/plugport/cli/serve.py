"""``plugport serve``: a handler on one or more URLs, until a signal ends it."""

from __future__ import annotations

import gc
import logging
import math
import os
import sys
from typing import Any, NamedTuple

import click

from plugport.cli.completion import complete_component
from plugport.cli.parts import Parts
from plugport.cli.session import Session, warn
from plugport.combination.options import parse_own
from plugport.combination.plugin_options import parse_plugin_options
from plugport.contracts.hooks import ServerHooks
from plugport.contracts.members import configure
from plugport.errors import IncompatibleError
from plugport.plugin.registry import Registry
from plugport.serving.service import Service, build_server
from plugport.serving.url import Url, parse_url

__all__ = ["serve"]

DEFAULT_URL = "tcp://127.0.0.1:9000"


def _check_grace(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if math.isnan(value):  # FloatRange lets it pass: it compares with no bound
        raise click.BadParameter(f"{value} is no number of seconds", context, parameter)
    return value


@click.command()
@click.argument("handler", shell_complete=complete_component("handler"))
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option(
    "-c",
    "--concurrency",
    metavar="STRATEGY",
    default="threading",
    show_default=True,
    shell_complete=complete_component("concurrency"),
    help="Concurrency strategy.",
)
@click.option(
    "-o",
    "--option",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    help="Option of the server, strategy or handler ('plugport show NAME' lists them). "
    "If two of them have it: server.KEY, concurrency.KEY or handler.KEY. "
    "Option of a plugin: PLUGIN.KEY. May be repeated.",
)
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.FloatRange(min=0, max=1e9),
    default=30.0,
    callback=_check_grace,
    show_default=True,
    help="Seconds that active requests have to finish after a signal to stop (0: none).",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least severe level that is logged.",
)
@click.option("--access-log", is_flag=True, help="Log each request in one line.")
@click.pass_context
def serve(
    context: click.Context,
    handler: str,
    urls: tuple[str, ...],
    concurrency: str,
    options: tuple[str, ...],
    grace: float,
    log_level: str,
    access_log: bool,
) -> None:
    """Serve HANDLER on each URL until SIGINT or SIGTERM; a second signal aborts active requests.

    A URL is SERVER://ADDRESS: tcp://127.0.0.1:9000, tcp://[::]:9000, udp://:0,
    unix:///run/x.sock, unix://@abstract. The default is tcp://127.0.0.1:9000.
    HANDLER is a name (see plugport list handlers), package.module:attribute or
    path/to/file.py:attribute.
    """
    session = context.find_object(Session)
    assert session is not None
    options_left, members = parse_plugin_options(session.plugins, options)
    plan = _plan(session.registry, handler, urls or (DEFAULT_URL,), concurrency, options_left)
    for warning in plan.warnings:
        warn(warning)
    _log_to_stderr(log_level)
    if access_log:
        from plugport.cli.accesslog import add_access_log

        add_access_log(session.plugins)
    context.exit(_serve(plan, session.plugins.server_hooks(members), grace))


class _Plan(NamedTuple):
    """A service that was checked, and is not built yet."""

    handler: Any
    handler_name: str
    servers: list[tuple[Any, Url]]
    warnings: list[str]


def _plan(
    registry: Registry, handler: str, urls: tuple[str, ...], concurrency: str, options: list[str]
) -> _Plan:
    """Check everything that can be checked before anything is bound."""
    strategy = registry.find("concurrency", concurrency)
    # Before the handler and the servers are imported: a strategy may have to change the process first.
    warnings = _prepare_process(registry.load(strategy), options)
    handler_entry = registry.find("handler", handler)
    parsed = [parse_url(text) for text in urls]
    servers = [registry.find("server", url.scheme) for url in parsed]
    parts = Parts(registry, handler_entry, servers, strategy)
    registry.load(handler_entry)
    for server, verdict in zip(servers, parts.verdicts(), strict=True):
        if not verdict.legal:
            raise IncompatibleError(
                f"{handler_entry.name} can't be served by {server.name} under {strategy.name}: "
                f"{verdict.reason}"
            )
        warnings += [warning for warning in verdict.warnings if warning not in warnings]
    configured, server_classes = parts.configure(options)
    for server_class, url in zip(server_classes, parsed, strict=True):
        server_class.resolve_url(url)
    return _Plan(configured, handler_entry.selector, list(zip(server_classes, parsed, strict=True)), warnings)


def _prepare_process(strategy: object, options: list[str]) -> list[str]:
    """Call the ``prepare_process()`` of a strategy that has one; return its warnings."""
    if not hasattr(strategy, "prepare_process"):
        return []
    return list(configure(strategy, parse_own(options, "concurrency", strategy)).prepare_process())


def _serve(plan: _Plan, hooks: ServerHooks, grace: float) -> int:
    servers: list[Any] = []
    try:
        for server_class, url in plan.servers:
            servers.append(
                build_server(server_class, url, plan.handler, handler_name=plan.handler_name, hooks=hooks)
            )
    except BaseException:
        Service(servers).close()
        raise
    service = Service(servers, grace, last=True)
    # Objects that exist now stay: the collector need not visit them, and forked children need not copy them.
    gc.collect()
    gc.freeze()
    status = service.run()
    if service.abandoned:
        # Threads that do not end would keep the interpreter from exiting.
        logging.shutdown()
        sys.stderr.flush()
        os._exit(status)
    return status


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(level.upper())
