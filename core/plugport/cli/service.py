"""The service of ``plugport serve``: checked as a whole, then bound and run until a signal.

Not in the module of the command, whose help and completion need none of what a service imports.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import Any, NamedTuple

from plugport.cli.parts import Parts
from plugport.combination.options import parse_own
from plugport.contracts.hooks import ServerHooks
from plugport.contracts.members import configure
from plugport.errors import IncompatibleError
from plugport.plugin.registry import Registry
from plugport.serving.service import Service, build_server
from plugport.serving.url import Url, parse_url

__all__ = ["ServicePlan", "log_to_stderr", "plan_service", "run_service"]


class ServicePlan(NamedTuple):
    """A service that was checked, and is not built yet."""

    handler: Any
    handler_name: str
    servers: list[tuple[Any, Url]]
    warnings: list[str]


def plan_service(
    registry: Registry, handler: str, urls: tuple[str, ...], concurrency: str, options: list[str]
) -> ServicePlan:
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
    return ServicePlan(
        configured, handler_entry.selector, list(zip(server_classes, parsed, strict=True)), warnings
    )


def _prepare_process(strategy: object, options: list[str]) -> list[str]:
    """Call the ``prepare_process()`` of a strategy that has one; return its warnings."""
    if not hasattr(strategy, "prepare_process"):
        return []
    return list(configure(strategy, parse_own(options, "concurrency", strategy)).prepare_process())


def run_service(plan: ServicePlan, hooks: ServerHooks, grace: float) -> int:
    """Bind the servers and serve until a signal; return the exit status.

    *grace*: seconds that active requests have after the first signal. Raises AddressError, ListenError.
    """
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


def log_to_stderr(level: str) -> None:
    """Write log records from *level* on to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(level.upper())
