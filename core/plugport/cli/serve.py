"""``plugport serve``: a handler on one or more URLs, until a signal ends it."""

from __future__ import annotations

import gc
import logging
import math
import os
import sys
from dataclasses import dataclass
from typing import Any

import click

from plugport.cli.completion import complete_component
from plugport.cli.session import Session, warn
from plugport.combination.options import UnknownOptionError, parse_options, parse_own
from plugport.combination.plugin_options import parse_plugin_options
from plugport.combination.verdicts import check, compose
from plugport.contracts.component import PARTS, Part
from plugport.contracts.hooks import ServerHooks
from plugport.contracts.members import configure
from plugport.errors import IncompatibleError
from plugport.plugin.registry import Entry, Registry
from plugport.serving.service import Service, build_server
from plugport.serving.url import Url, parse_url

__all__ = ["serve"]

DEFAULT_URL = "tcp://127.0.0.1:9000"


def _check_grace(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if math.isnan(value):  # it compares with no bound
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
    help="The concurrency strategy.",
)
@click.option(
    "-o",
    "--option",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    help="Set an option of the server, strategy or handler; 'plugport show NAME' lists them. "
    "Where two have it write server.KEY, concurrency.KEY or handler.KEY; one of a plugin is "
    "PLUGIN.KEY. May be repeated.",
)
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.FloatRange(min=0, max=1e9),
    default=30.0,
    callback=_check_grace,
    show_default=True,
    help="How long active requests may go on after a signal to stop.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least level of what is logged.",
)
@click.option("--access-log", is_flag=True, help="Log a line for each request.")
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
    """Serve HANDLER on each URL until SIGINT or SIGTERM; a second one cuts what is still active.

    A URL is SERVER://ADDRESS: tcp://127.0.0.1:9000, tcp://[::]:9000, udp://:0,
    unix:///run/x.sock, unix://@abstract. Without one it is tcp://127.0.0.1:9000.
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


@dataclass
class _Plan:
    """A service that was checked: what to build, and nothing built yet."""

    handler: Any
    handler_name: str
    servers: list[tuple[type, Url]]
    warnings: list[str]


def _plan(
    registry: Registry, handler: str, urls: tuple[str, ...], concurrency: str, options: list[str]
) -> _Plan:
    """Check everything that can be checked before anything is bound."""
    strategy = registry.find("concurrency", concurrency)
    warnings = _prepare_process(registry.load(strategy), options)  # before the other two are imported
    handler_entry = registry.find("handler", handler)
    parsed = [parse_url(text) for text in urls]
    servers = [registry.find("server", url.scheme) for url in parsed]
    plan = _Plan(registry.load(handler_entry), handler_entry.selector, [], warnings)
    for server in servers:
        verdict = check(handler_entry, server, strategy, registry)
        if not verdict.legal:
            raise IncompatibleError(
                f"{handler_entry.name} can't be served by {server.name} under {strategy.name}: "
                f"{verdict.reason}"
            )
        plan.warnings += [warning for warning in verdict.warnings if warning not in plan.warnings]
    members = _members(registry, options, handler_entry, strategy, servers)
    for url, server, chosen in zip(parsed, servers, members, strict=True):
        composed = compose(server, strategy, registry)
        composed = configure(composed, {**chosen["server"], **chosen["concurrency"]})
        composed.resolve_url(url)
        plan.servers.append((composed, url))
    plan.handler = configure(plan.handler, members[0]["handler"])
    return plan


def _prepare_process(strategy: Any, options: list[str]) -> list[str]:
    """Let a strategy do to this process what it must before a handler or server is imported.

    Returns what there is to warn of.
    """
    if not hasattr(strategy, "prepare_process"):
        return []
    return list(configure(strategy, parse_own(options, "concurrency", strategy)).prepare_process())


def _members(
    registry: Registry, options: list[str], handler: Entry, strategy: Entry, servers: list[Entry]
) -> list[dict[Part, dict[str, Any]]]:
    """Read the options once for each of *servers*. Those that differ in kind need not all know an option."""
    members: list[dict[Part, dict[str, Any]]] = [{part: {} for part in PARTS} for _ in servers]
    for text in options:
        unknown: list[UnknownOptionError] = []
        for server, chosen in zip(servers, members, strict=True):
            entries: dict[Part, Entry] = {"server": server, "concurrency": strategy, "handler": handler}
            parts = {part: registry.load(entry) for part, entry in entries.items()}
            try:
                found = parse_options(
                    [text], parts, {part: entry.selector for part, entry in entries.items()}
                )
            except UnknownOptionError as error:
                unknown.append(error)
                continue
            for part, values in found.items():
                chosen[part].update(values)
        if len(unknown) == len(servers):
            raise unknown[0]
    return members


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
    # What is here now stays: the garbage collector need not look at it again, nor forked children copy it.
    gc.collect()
    gc.freeze()
    status = service.run()
    if service.abandoned:
        # Threads that would not end would keep the interpreter from ending.
        logging.shutdown()
        sys.stderr.flush()
        os._exit(status)
    return status


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(level.upper())
